"""How much noise and reverberation there is behind speech, told from the recording alone.

Noise fills the pauses: the level of speech lies little above the quietest parts. Reverberation goes on after the sound:
no band falls as fast as a mouth can make it. Both are taken from the spectra of chunks of 32 ms; docs/audio.md shows
what they are for speech as it is, with noise, and in a room.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64

from aasist_jax.audio.condition import STEP
from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.silero import CHUNK

BAND_EDGES_HZ = (62.5, 250.0, 500.0, 750.0, 1000.0, 1500.0, 2000.0, 3000.0, 4000.0, 5500.0, 7000.0)
"""Of the bands that are followed."""

LOUD, QUIET = 0.95, 0.1
"""Shares of the chunks: speech is as loud as this of its own, and the noise as this of all chunks with any sound."""

FASTEST = 0.975
"""Share of the falls that are slower than the one that is told."""

FALL_CHUNKS = 2
"""A fall is from one chunk to the second one after it, 64 ms later."""

LEAST_CHUNKS = 16
"""Chunks of speech, 0.5 s, without which nothing is told."""

BLOCK = 2048
"""Chunks that are measured at once, so that a long array costs little more memory than it has itself."""

LOWEST_DB, HIGHEST_DB = -120.0, 60.0
LEVEL_BIN_DB, FALL_BIN_DB = 0.25, 0.125
STEEPEST_DB = 60.0

_BIN_HZ = SAMPLE_RATE / CHUNK
_EDGES = np.array([round(edge / _BIN_HZ) for edge in BAND_EDGES_HZ])
_BANDS = len(_EDGES) - 1
_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(CHUNK) / CHUNK)).astype(np.float32)
_LEVELS = round((HIGHEST_DB - LOWEST_DB) / LEVEL_BIN_DB) + 1
_FALLS = round(STEEPEST_DB / FALL_BIN_DB) + 1
_ROUNDING_DB = 10 * np.log10(STEP**2 / 12 * np.square(_WINDOW).sum() * (_EDGES[-1] - _EDGES[0]))
"""The level of the noise of rounding to 16 bits. A chunk that is no louder is digital silence, which is no noise."""


class AcousticsMeter:
    """Gathers the levels of chunks that come in turn, in memory that does not grow."""

    def __init__(self) -> None:
        self._levels = np.zeros(_LEVELS, int)
        self._speech_levels = np.zeros(_LEVELS, int)
        self._falls = np.zeros((_BANDS, _FALLS), int)
        self._bands = np.zeros((0, _BANDS))  # of the last chunks, from which falls begin that have not ended yet
        self._is_speech = np.zeros(0, bool)

    def push(self, chunks: Float32[np.ndarray, "chunks 512"], is_speech: Bool[np.ndarray, " chunks"]) -> None:
        """Take the next chunks, 16 kHz, full scale 1, and which of them are speech."""
        for start in range(0, len(chunks), BLOCK):
            self._push(chunks[start : start + BLOCK], is_speech[start : start + BLOCK])

    def _push(self, chunks: np.ndarray, is_speech: np.ndarray) -> None:
        powers = _band_powers(chunks)
        levels = _decibels(powers.sum(axis=1))
        self._levels += _histogram(levels[levels > _ROUNDING_DB])
        self._speech_levels += _histogram(levels[is_speech])
        bands = np.concatenate([self._bands, _decibels(powers)])
        begins = np.concatenate([self._is_speech, is_speech])
        falls = (bands[:-FALL_CHUNKS] - bands[FALL_CHUNKS:])[begins[:-FALL_CHUNKS]]
        bins = np.clip(np.round(falls / FALL_BIN_DB).astype(int), 0, _FALLS - 1) + _FALLS * np.arange(_BANDS)
        self._falls += np.bincount(bins.ravel(), minlength=self._falls.size).reshape(self._falls.shape)
        self._bands, self._is_speech = bands[-FALL_CHUNKS:], begins[-FALL_CHUNKS:]

    @property
    def snr_db(self) -> float | None:
        """How far loud speech lies above the quietest tenth of the recording, in dB; None for too little speech.

        An estimate of the signal-to-noise ratio, some 4 dB above it where it is low; where it is high, the quietest
        tenth may be soft speech. Chunks without speech count for the noise as well, and digital silence for nothing.
        """
        if self._speech_levels.sum() < LEAST_CHUNKS or not self._levels.any():
            return None
        return LEVEL_BIN_DB * (_quantile(self._speech_levels, LOUD) - _quantile(self._levels, QUIET))

    def decay_db(self, bandwidth_hz: float) -> float | None:
        """How far a band falls within 64 ms where it falls fast, in dB; None for too little speech.

        Args:
            bandwidth_hz: up to which frequency there is content; bands that reach beyond are left out.
        """
        falls = self._falls[np.array(BAND_EDGES_HZ[1:]) <= bandwidth_hz]
        if falls.sum() < LEAST_CHUNKS * len(falls) or not len(falls):
            return None
        return FALL_BIN_DB * _quantile(falls.sum(axis=0), FASTEST)


def _band_powers(chunks: Float32[np.ndarray, "chunks 512"]) -> Float64[np.ndarray, "chunks bands"]:
    # Of samples near the largest float, which are no audio, the spectrum is not finite, and the level the highest.
    with np.errstate(over="ignore", invalid="ignore"):
        spectra = np.fft.rfft(chunks * _WINDOW, axis=1)
        powers = np.square(spectra.real, dtype=np.float64) + np.square(spectra.imag, dtype=np.float64)
        return np.add.reduceat(powers[:, : _EDGES[-1]], _EDGES[:-1], axis=1)


def _decibels(powers: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        levels = 10 * np.log10(np.maximum(powers, 10 ** (LOWEST_DB / 10)))
    return np.clip(np.nan_to_num(levels, nan=HIGHEST_DB, posinf=HIGHEST_DB), LOWEST_DB, HIGHEST_DB)


def _histogram(levels: np.ndarray) -> np.ndarray:
    return np.bincount(np.round((levels - LOWEST_DB) / LEVEL_BIN_DB).astype(int), minlength=_LEVELS)


def _quantile(histogram: np.ndarray, share: float) -> int:
    """The bin below or in which at least this share of the counts lies."""
    counts = np.cumsum(histogram)
    return int(np.searchsorted(counts, share * counts[-1]))
