"""Plain facts of a recording that bear on how far a verdict of it can be trusted, gathered while it is read."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from aasist_jax.audio.acoustics import AcousticsMeter
from aasist_jax.audio.condition import (
    CLIPPED_BAND,
    CLIPPED_QUANTILE,
    CLIPPED_RUN,
    CLIPPED_SHARE,
    SHORT_SECONDS,
    STEP,
)
from aasist_jax.audio.limits import SAMPLE_RATE

REASONS = ("short", "little speech", "clipped", "band-limited", "noisy or reverberant")
"""The words of `reasons`, in its order."""

LITTLE_SPEECH_SECONDS = 0.6
"""A recording with less speech than this is called `little speech`; 0.6 s is about one short word."""

CONTENT_BELOW_PEAK_DB = 65.0
"""A band has content if it lies at most this far below the strongest one, over the whole recording."""

QUANTIZATION = 4 * STEP**2 / 12
"""Variance of the noise of rounding to 16 bits with the strongest usual dither. What is no stronger is no content."""

LOWEST_DBFS = -120.0

FRAME = 512
BAND_BINS = 4
BAND_HZ = BAND_BINS * SAMPLE_RATE / FRAME
BLOCK = 1 << 16
"""Samples that are measured at once: shorter pieces wait until they are as many."""

_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)
_MANTISSA_BITS = 10
_DROPPED_BITS = 23 - _MANTISSA_BITS
_LOWEST = int(np.float32(2.0**-16).view(np.int32)) >> _DROPPED_BITS
_LEVELS = 36 << _MANTISSA_BITS
_EDGE = CLIPPED_RUN - 1


@dataclass(frozen=True)
class SignalLimits:
    """What a recording has at least, if it is like those that a detector knows; docs/audio.md measures the defaults.

    Attributes:
        bandwidth_hz: with less it is `band-limited`. 6 kHz lies above what telephones (up to 4.0 kHz) and recordings at
            11,025 Hz (up to 5.5 kHz) carry, and below nearly all wideband speech.
        snr_db: with less it is `noisy or reverberant`. Pink noise 10 dB below speech gives 12 to 20 dB, and nearly all
            recordings without much noise more than 22 dB.
        decay_db: with less it is `noisy or reverberant`. In a room of an RT60 of 0.5 s the tail falls by 7.7 dB in
            64 ms, and speech with it by 8 to 14.5 dB.
    """

    bandwidth_hz: float = 6000.0
    snr_db: float = 20.0
    decay_db: float = 14.25


USUAL = SignalLimits()


@dataclass(frozen=True)
class SignalFacts:
    """Facts of a recording at 16 kHz mono.

    Attributes:
        seconds: its length.
        speech_seconds: how much of it is speech.
        level_dbfs: the root mean square of all samples in dB of full scale, an offset left out; at least -120.
        peak: the largest magnitude; full scale is 1.
        clipped_share: share of the samples that dwell at the extreme (see `aasist_jax.audio.condition`), in [0, 1]; the
            level that it counts from is rounded down by at most 0.2 %.
        bandwidth_hz: the upper edge of the highest band of 125 Hz that has content; 0 for silence.
        snr_db: how far loud speech lies above the quietest tenth of the recording, in dB; None for less than 0.5 s of
            speech.
        decay_db: how far the bands of speech fall in 64 ms where they fall fast, in dB; None likewise.
    """

    seconds: float
    speech_seconds: float
    level_dbfs: float
    peak: float
    clipped_share: float
    bandwidth_hz: float
    snr_db: float | None = None
    decay_db: float | None = None


def reasons(facts: SignalFacts, limits: SignalLimits = USUAL) -> tuple[str, ...]:
    """Why a verdict of such a recording is less sure: those of `REASONS` that hold, in that order.

    - `short`: less than 0.5 s, as `aasist_jax.audio.condition` has it.
    - `little speech`: less than 0.6 s of speech.
    - `clipped`: at least 2.5 % of the samples dwell at the extreme, as `aasist_jax.audio.condition` has it.
    - `band-limited`: no content above the limit. Not said of a recording without any sound.
    - `noisy or reverberant`: speech stands out of the noise by less than the limit, or fades more slowly. The two are
      one reason, since noise hides how fast sound fades.
    """
    holds = (
        facts.seconds < SHORT_SECONDS,
        facts.speech_seconds < LITTLE_SPEECH_SECONDS,
        facts.clipped_share >= CLIPPED_SHARE,
        0 < facts.bandwidth_hz < limits.bandwidth_hz,
        _is_below(facts.snr_db, limits.snr_db) or _is_below(facts.decay_db, limits.decay_db),
    )
    return tuple(word for word, held in zip(REASONS, holds, strict=True) if held)


def _is_below(value: float | None, limit: float) -> bool:
    return value is not None and value < limit


class SignalMeter:
    """Gathers the facts of a recording that comes piece by piece, in memory that does not grow.

    They are the same however it is cut.
    """

    def __init__(self) -> None:
        self._waiting: list[np.ndarray] = []
        self._size = 0  # samples that wait
        self._before = np.zeros(2 * _EDGE, np.float32)
        self._sums = _NOTHING

    def push(self, wave: Float32[np.ndarray, " samples"]) -> None:
        """Take the next samples, 16 kHz, full scale 1."""
        self._waiting.append(wave.copy())
        self._size += wave.size
        if self._size < BLOCK:
            return
        wave = np.concatenate(self._waiting)
        whole = wave.size // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            block = wave[start : start + BLOCK]
            self._sums = self._sums.plus(_sums(block, self._before))
            self._before = block[-2 * _EDGE :]
        self._waiting, self._size = [wave[whole:]], wave.size - whole

    def facts(self, speech_seconds: float, acoustics: AcousticsMeter) -> SignalFacts:
        """Give the facts of what has arrived so far; more may follow.

        Args:
            speech_seconds: how much of it is speech, as `aasist_jax.audio.speech.SpeechActivity` found.
            acoustics: has the noise and the reverberation behind the speech, from there as well.
        """
        rest = np.concatenate([*self._waiting, np.zeros(0, np.float32)])
        sums = self._sums.plus(_sums(rest, self._before, is_end=True))
        power = sums.power if sums.frames else _power(rest[None])
        bandwidth_hz = bandwidth(power / max(sums.frames, 1))
        return SignalFacts(
            seconds=sums.samples / SAMPLE_RATE,
            speech_seconds=speech_seconds,
            level_dbfs=_level(sums),
            peak=sums.peak,
            clipped_share=_clipped_share(sums),
            bandwidth_hz=bandwidth_hz,
            snr_db=acoustics.snr_db,
            decay_db=acoustics.decay_db(bandwidth_hz),
        )


class _Sums(NamedTuple):
    """The sums over the blocks so far. The levels are counted in bins that are 0.1 % wide.

    Which level is the extreme one, near which samples count as clipped, is known only at the end. `dwelling` therefore
    counts each sample at the highest level at which it would still lie in a run that is clipped.
    """

    samples: int
    total: float
    squares: float
    peak: float
    magnitudes: np.ndarray
    dwelling: np.ndarray
    frames: int
    power: Float64[np.ndarray, "257"]

    def plus(self, more: "_Sums") -> "_Sums":
        return _Sums(
            samples=self.samples + more.samples,
            total=self.total + more.total,
            squares=self.squares + more.squares,
            peak=max(self.peak, more.peak),
            magnitudes=self.magnitudes + more.magnitudes,
            dwelling=self.dwelling + more.dwelling,
            frames=self.frames + more.frames,
            power=self.power + more.power,
        )


_NOTHING = _Sums(0, 0.0, 0.0, 0.0, np.zeros(_LEVELS, int), np.zeros(_LEVELS, int), 0, np.zeros(FRAME // 2 + 1))


def _sums(block: np.ndarray, before: np.ndarray, *, is_end: bool = False) -> _Sums:
    """Measure a block; runs reach into the four samples before it, whose last two are counted with it."""
    after = np.zeros(_EDGE if is_end else 0, np.float32)
    whole = block[: block.size // FRAME * FRAME].reshape(-1, FRAME)
    return _Sums(
        samples=block.size,
        total=float(block.sum(dtype=np.float64)),
        squares=float(np.square(block, dtype=np.float64).sum()),
        peak=float(np.abs(block).max(initial=0.0)),
        magnitudes=_count(np.abs(block)),
        dwelling=_count(_dwelling(np.concatenate([before, block, after]))),
        frames=len(whole),
        power=_power(whole),
    )


def _dwelling(wave: np.ndarray) -> np.ndarray:
    """For all samples but two at either end, the least magnitude in the best run of three of one sign around it.

    Of three samples of one sign, the lowest or the negative of the highest is that least magnitude; of others, neither
    is above 0.
    """
    lowest = np.minimum(np.minimum(wave[:-2], wave[1:-1]), wave[2:])
    highest = np.maximum(np.maximum(wave[:-2], wave[1:-1]), wave[2:])
    runs = np.maximum(np.maximum(lowest, -highest), 0)
    return np.maximum(np.maximum(runs[:-2], runs[1:-1]), runs[2:])


def _bin(levels: np.ndarray) -> np.ndarray:
    """The bin of each level: its exponent and the first ten bits behind, from 2**-16 on. All below are in bin 0."""
    return np.clip((levels.view(np.int32) >> _DROPPED_BITS) - _LOWEST, 0, _LEVELS - 1)


def _count(levels: np.ndarray) -> np.ndarray:
    return np.bincount(_bin(levels), minlength=_LEVELS)


def _clipped_share(sums: _Sums) -> float:
    if not sums.samples:
        return 0.0
    # The quantile as NumPy has it, between two samples in the order of their magnitudes.
    place = CLIPPED_QUANTILE * (sums.samples - 1)
    ranks = np.array([math.floor(place), math.ceil(place)])
    bins = np.searchsorted(np.cumsum(sums.magnitudes), ranks, side="right").astype(np.int32)
    lower, upper = ((bins + _LOWEST) << _DROPPED_BITS).view(np.float32)
    loudest = lower + (place - ranks[0]) * (upper - lower)
    if loudest <= STEP:
        return 0.0
    level = int(_bin(np.array([loudest * (1 - CLIPPED_BAND)], np.float32))[0])
    return int(sums.dwelling[level:].sum()) / sums.samples


def _level(sums: _Sums) -> float:
    if not sums.samples:
        return LOWEST_DBFS
    variance = sums.squares / sums.samples - (sums.total / sums.samples) ** 2
    return max(10 * math.log10(max(variance, 1e-30)), LOWEST_DBFS)


def _power(frames: Float32[np.ndarray, "frames samples"]) -> Float64[np.ndarray, "257"]:
    """The sum of the power spectra of frames of at most 512 samples."""
    if frames.shape[1] < FRAME:
        # Its own window, so that the zeros behind begin without a step.
        size = frames.shape[1]
        frames = np.pad(frames * np.hanning(size + 2)[1:-1].astype(np.float32), ((0, 0), (0, FRAME - size)))
    else:
        frames = frames * _WINDOW
    # Of samples near the largest float, which are no audio, the spectrum is not finite, and has no bandwidth.
    with np.errstate(over="ignore", invalid="ignore"):
        spectra = np.fft.rfft(frames, axis=1)
    return np.square(spectra.real, dtype=np.float64).sum(0) + np.square(spectra.imag, dtype=np.float64).sum(0)


def bandwidth(power: Float64[np.ndarray, "257"]) -> float:
    """Up to which frequency in Hz there is content, in steps of 125 Hz; 0 where there is none.

    A band has content if its power is at most 65 dB below that of the strongest one, and above that of rounding to 16
    bits. The lowest band is left out, for the sake of offsets.

    Args:
        power: the mean power spectrum of frames of 512 samples at 16 kHz under a Hann window, full scale 1.
    """
    bands = power[1:].reshape(-1, BAND_BINS).sum(axis=1)
    bands[0] = 0
    floor = QUANTIZATION * float(np.square(_WINDOW).sum()) * BAND_BINS
    heard = np.flatnonzero(bands > max(bands.max() * 10 ** (-CONTENT_BELOW_PEAK_DB / 10), floor))
    return float((heard[-1] + 1) * BAND_HZ) if heard.size else 0.0
