"""Whether the two channels of a recording are two things, such as the two sides of a call, or one thing twice."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32

BLOCK_SECONDS = 0.5
"""About the length of a word, in which one side of a call is heard and the other is not."""

DIFFERENCE_DB = 6.0
"""Levels that differ by more are not those of one sound on both channels, panned a little to one side."""

LEAST_SHARE = 0.1
"""Share of the audible blocks in which levels must differ."""

AUDIBLE_DB = -50.0


def channels_differ(blocks: Iterable[Float32[np.ndarray, "frames channels"]], sample_rate: int) -> bool:
    """Say whether levels differ in a tenth or more of the half seconds in which something is heard.

    Args:
        blocks: the samples, full scale 1, of a recording with two channels.
        sample_rate: in Hz.
    """
    size = round(BLOCK_SECONDS * sample_rate)
    rest = np.zeros((0, 2), np.float32)
    audible = different = 0
    for block in blocks:
        joined = np.concatenate([rest, block])
        whole = len(joined) // size * size
        rest = joined[whole:]
        levels = _levels(joined[:whole].reshape(-1, size, 2))
        heard = levels.max(axis=1, initial=-np.inf) > AUDIBLE_DB
        audible += int(heard.sum())
        different += int((np.abs(levels[:, 0] - levels[:, 1]) > DIFFERENCE_DB)[heard].sum())
    if audible == 0 and len(rest):
        levels = _levels(rest[np.newaxis])
        return bool(levels.max() > AUDIBLE_DB and abs(levels[0, 0] - levels[0, 1]) > DIFFERENCE_DB)
    return audible > 0 and different >= LEAST_SHARE * audible


def _levels(blocks: np.ndarray) -> np.ndarray:
    """Level of each channel in each block, dB relative to full scale; -100 for silence."""
    power = np.square(blocks, dtype=np.float64).mean(axis=1)
    return 10 * np.log10(power + 1e-10)
