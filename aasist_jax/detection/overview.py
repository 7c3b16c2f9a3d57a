"""Envelope and spectrogram of a recording that is read in pieces, for its pictures, in bounded memory."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, Float32

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.detection.stream import BLOCK
from aasist_jax.runtime.memory import return_freed_memory

FFT, HOP = 512, 256
COLUMNS = 1500
"""The overview has at least this many columns once the recording is long enough, and fewer than twice as many."""


class Overview:
    """Envelope and spectrogram of a signal that arrives in pieces.

    It begins with one column per 256 samples; whenever there are too many columns, neighbouring ones are merged.
    """

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._taper = np.hanning(FFT).astype(np.float32)
        self._merge = 1  # spectra per column
        self._samples = 0
        # Each row is one column of the picture: lowest and highest sample, then the mean power of every frequency.
        self._pending = np.zeros((0, 2 + FFT // 2 + 1), np.float32)
        self._columns = self._pending

    @property
    def seconds(self) -> float:
        """Seconds of the signal received so far."""
        return self._samples / SAMPLE_RATE

    @property
    def column_seconds(self) -> float:
        """Seconds of the signal that a column covers."""
        return self._merge * HOP / SAMPLE_RATE

    def push(self, wave: Float32[np.ndarray, " samples"]) -> None:
        """Take the next samples, 16 kHz, full scale 1."""
        for start in range(0, wave.size, FFT * HOP):
            self._take(wave[start : start + FFT * HOP])

    def _take(self, wave: Float32[np.ndarray, " samples"]) -> None:
        self._samples += wave.size
        wave = np.concatenate([self._rest, wave])
        count = max((wave.size - FFT) // HOP + 1, 0)
        self._rest = wave[count * HOP :]
        if count == 0:
            return
        self._pending = np.concatenate([self._pending, _measure(wave, count, self._taper)])
        whole = len(self._pending) // self._merge * self._merge
        self._columns = np.concatenate([self._columns, _merged(self._pending[:whole], self._merge)])
        self._pending = self._pending[whole:]
        while len(self._columns) >= 2 * COLUMNS:
            even = len(self._columns) // 2 * 2
            # A column without a partner goes back to the pending spectra, repeated once for each of its spectra.
            odd = np.repeat(self._columns[even:], self._merge, axis=0)
            self._pending = np.concatenate([odd, self._pending])
            self._columns = _merged(self._columns[:even], 2)
            self._merge *= 2

    def columns(
        self,
    ) -> tuple[Float32[np.ndarray, " t"], Float32[np.ndarray, " t"], Float[np.ndarray, "f t"]]:
        """Lowest and highest sample of each column, and the power of each frequency in dB below the loudest."""
        count = -(-self._rest.size // HOP)
        last = _measure(np.pad(self._rest, (0, FFT)), count, self._taper)
        pending = np.concatenate([self._pending, last])
        # The last column may consist of fewer spectra than the others.
        groups = [pending[i : i + self._merge] for i in range(0, len(pending), self._merge)]
        table = np.concatenate([self._columns, *(_merged(group, len(group)) for group in groups)])
        decibels = 10 * np.log10(np.maximum(table[:, 2:].astype(np.float64), 1e-14))
        decibels -= decibels.max(initial=-140.0)
        return table[:, 0], table[:, 1], decibels.T


def watched(
    blocks: Iterable[Float32[np.ndarray, " samples"]], overview: Overview | None
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Yield blocks of a recording in pieces of bounded size and add them to the overview, in bounded memory."""
    for block in blocks:
        for start in range(0, block.size, BLOCK):
            piece = block[start : start + BLOCK]
            if overview is not None:
                overview.push(piece)
            yield piece
            return_freed_memory()


def _measure(wave: np.ndarray, count: int, taper: np.ndarray) -> Float32[np.ndarray, "t values"]:
    frames = np.lib.stride_tricks.sliding_window_view(wave, FFT)[::HOP][:count]
    spectra = np.fft.rfft(frames * taper, axis=1)
    power = (spectra.real**2 + spectra.imag**2) / taper.sum() ** 2
    blocks = frames[:, :HOP]
    return np.column_stack([blocks.min(axis=1), blocks.max(axis=1), power]).astype(np.float32)


def _merged(rows: Float32[np.ndarray, "t values"], count: int) -> Float32[np.ndarray, "t2 values"]:
    groups = rows.reshape(-1, count, rows.shape[1])
    return np.column_stack([groups[..., 0].min(1), groups[..., 1].max(1), groups[..., 2:].mean(1, dtype=np.float32)])
