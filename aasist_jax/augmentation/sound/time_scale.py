"""Time stretched at the same pitch, and rates changed."""

import functools

import numpy as np
import soxr
from jaxtyping import Complex, Float, Int
from scipy import fft

from aasist_jax.augmentation.sound import OtherWave, Wave

SIZE, HOP = 1024, 256
"""Samples of a frame and between frames: 64 and 16 ms, so that a frame holds some periods of a low voice."""

_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)).astype(np.float32)


def change_rate(wave: Wave, factor: float) -> OtherWave:
    """Play a wave `factor` times as fast (soxr, HQ): the length is divided by it, all frequencies are multiplied."""
    # soxr takes any ratio of rates; whole numbers of this size are within 1e-6 of the factor.
    base = 1_000_000
    changed = soxr.resample(wave, round(base * factor), base, "HQ")
    return changed if changed.size else wave[:1]


def stretch(wave: Wave, factor: float) -> OtherWave:
    """Play a wave `factor` times as fast at the same pitch, by a phase vocoder.

    The magnitudes of a frame are those of the wave at its place; its phases go on from those of the frame before as far
    as they do in the wave within the time between two frames, and are locked to peaks (Laroche and Dolson, 1999).

    Returns:
        About samples / factor samples, one at the least.
    """
    samples = max(1, round(wave.size / factor))
    # The centres of the frames, from two before the start, so that all samples lie within four frames.
    centres = np.rint(np.arange(-2, samples // HOP + 4) * (HOP * factor)).astype(int)
    lead = SIZE // 2 + HOP - int(centres[0])
    places = centres + lead - SIZE // 2
    padded = np.pad(wave.astype(np.float32), (lead, max(0, int(places[-1]) + SIZE - lead - wave.size)))
    here, before = _frames(padded, places), _frames(padded, places - HOP)
    turned = np.abs(here) * np.exp(1j * _phases(here, before)).astype(np.complex64)
    pieces = fft.irfft(turned, SIZE).astype(np.float64) * _WINDOW
    start = 2 * HOP + SIZE // 2
    return _overlap_add(pieces)[start : start + samples]


def _phases(
    here: Complex[np.ndarray, "frames bins"], before: Complex[np.ndarray, "frames bins"]
) -> Float[np.ndarray, "frames bins"]:
    """The phases of the frames that are added up: those of `here`, turned so that they follow the frame before.

    All bins around a peak are turned as the peak is, since they belong to the same partial; on their own they would
    drift apart and weaken one another.
    """
    phases, earlier, owners = np.angle(here), np.angle(before), _nearest_peaks(np.abs(here))
    result = np.empty(phases.shape)
    result[0] = phases[0]
    for frame in range(1, len(phases)):
        turn = result[frame - 1] - earlier[frame]
        result[frame] = phases[frame] + turn[owners[frame]]
    return result


def _nearest_peaks(magnitudes: Float[np.ndarray, "frames bins"]) -> Int[np.ndarray, "frames bins"]:
    """The bin of the nearest local maximum over five bins, for every bin; its own where there is none."""
    bins = magnitudes.shape[1]
    padded = np.pad(magnitudes, ((0, 0), (2, 2)))
    around = functools.reduce(np.maximum, [padded[:, start : start + bins] for start in range(5)])
    is_peak = (magnitudes > 0) & (magnitudes >= around)
    places = np.arange(bins)
    below = np.maximum.accumulate(np.where(is_peak, places, -bins), axis=1)
    above = np.minimum.accumulate(np.where(is_peak, places, 2 * bins)[:, ::-1], axis=1)[:, ::-1]
    nearest = np.where(places - below <= above - places, below, above)
    return np.where((nearest >= 0) & (nearest < bins), nearest, places)


def _frames(wave: OtherWave, places: np.ndarray) -> Complex[np.ndarray, "frames bins"]:
    windows = np.lib.stride_tricks.sliding_window_view(wave, SIZE)[places]
    return fft.rfft(windows * _WINDOW)


def _overlap_add(pieces: np.ndarray) -> OtherWave:
    """Add frames up; squared Hann windows at a quarter of their length make 1.5."""
    parts = SIZE // HOP
    total = np.zeros((len(pieces) + parts - 1, HOP))
    for part in range(parts):
        total[part : part + len(pieces)] += pieces[:, part * HOP : (part + 1) * HOP]
    return total.ravel() / 1.5
