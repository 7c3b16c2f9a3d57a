"""Which windows hold speech: the levels of short blocks, and the share of them that is speech.

The detector is simple on purpose: a block is speech where its level lies clearly above the noise floor, and the floor
is a low percentile of the levels of the last ten seconds, since in speech some blocks are always pauses. It tells
speech from pauses, not speech from music.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.condition import STEP

BLOCK = 243
"""Samples of a block at 16 kHz: 15.2 ms, short enough to fall between two syllables."""

HISTORY_SECONDS = 10.0
FLOOR_PERCENTILE = 10
SPEECH_ABOVE_FLOOR_DB = 9.0
QUIETEST_SPEECH_DB = -60.0
DIGITAL_SILENCE_DB = -90.0
"""Blocks below this say nothing of the noise: a gate or a player made them."""

HIGHEST_FLOOR_DB = -35.0
"""A floor above this would be speech without pauses rather than noise."""

LEAST_SPEECH = 0.15
"""Share of a window's blocks that must be speech for the window to be judged."""

_HISTORY = round(HISTORY_SECONDS * 16_000 / BLOCK)


@dataclass(frozen=True)
class Activity:
    """What there is in a window: whether the signal changes at all, and the share of blocks that are speech."""

    is_constant: bool
    speech: float


class Levels:
    """The levels of a signal that comes piece by piece; keeps what the windows still to come need."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._first = 0  # the block that the arrays begin with
        self._decibels = np.zeros(0, np.float32)
        self._lowest = np.zeros(0, np.float32)
        self._highest = np.zeros(0, np.float32)

    def push(self, wave: Float32[np.ndarray, " samples"]) -> None:
        """Take the next samples, 16 kHz, full scale 1."""
        wave = np.concatenate([self._rest, wave])
        whole = wave.size // BLOCK * BLOCK
        blocks, self._rest = wave[:whole].reshape(-1, BLOCK), wave[whole:]
        # The variance: an offset is no sound.
        decibels = 10 * np.log10(blocks.var(axis=1, dtype=np.float64) + 1e-10)
        self._decibels = np.concatenate([self._decibels, decibels.astype(np.float32)])
        self._lowest = np.concatenate([self._lowest, blocks.min(axis=1)])
        self._highest = np.concatenate([self._highest, blocks.max(axis=1)])

    def window(self, start: int, end: int) -> Activity:
        """Judge the samples from `start` to `end` - 1, whole blocks of them, by what came before `end`."""
        first, stop = -(-start // BLOCK) - self._first, end // BLOCK - self._first
        if first >= stop:
            # Less than a block in all.
            return Activity(_is_constant(self._rest, self._rest), speech=1.0)
        inside = self._decibels[first:stop]
        history = self._decibels[max(stop - _HISTORY, 0) : stop]
        heard = history[history > DIGITAL_SILENCE_DB]
        floor = min(float(np.percentile(heard, FLOOR_PERCENTILE)), HIGHEST_FLOOR_DB) if heard.size else HIGHEST_FLOOR_DB
        threshold = max(floor + SPEECH_ABOVE_FLOOR_DB, QUIETEST_SPEECH_DB)
        is_constant = _is_constant(self._lowest[first:stop], self._highest[first:stop])
        return Activity(is_constant, float((inside > threshold).mean()))

    def forget(self, start: int) -> None:
        """Drop what no window from sample `start` on needs."""
        drop = start // BLOCK - _HISTORY - self._first
        if drop > _HISTORY:
            self._first += drop
            self._decibels, self._lowest, self._highest = (
                levels[drop:] for levels in (self._decibels, self._lowest, self._highest)
            )


def _is_constant(lowest: np.ndarray, highest: np.ndarray) -> bool:
    """Silence or a DC line, by the measure of `aasist_jax.audio.condition`."""
    return bool(lowest.size and highest.max() - lowest.min() <= 2 * STEP)
