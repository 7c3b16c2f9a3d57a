"""Speech that needs no corpus: vowels of a voice that rises and falls, with rustling between them, made by code.

Silero's detector hears it as speech; nobody would take it for a human's. And white noise, which it does not.
"""

import numpy as np
from scipy import signal

from aasist_jax.corpus.non_speech import noise_at

RATE = 16_000
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""Formants in Hz: Peterson and Barney, "Control methods used in a study of the vowels", JASA 24, 1952."""
BANDWIDTHS = (80, 100, 120)


def made_speech(seconds: float, seed: int = 0, gain: float = 1.0) -> np.ndarray:
    """Speech at 16 kHz, float32, with a peak of 0.3 times the gain."""
    rng = np.random.default_rng(seed)
    pieces, size = [], 0
    while size < seconds * RATE:
        for piece in (_vowel(rng), _rustle(rng)):
            pieces.append(piece)
            size += piece.size
    return (gain * np.concatenate(pieces)[: round(seconds * RATE)]).astype(np.float32)


def hiss(seconds: float, level: float) -> np.ndarray:
    """White noise at 16 kHz, float32, `level` dB below full scale; always the same."""
    return noise_at(round(seconds * RATE), np.random.default_rng(0), float(level)).astype(np.float32)


def _vowel(rng: np.random.Generator) -> np.ndarray:
    time = np.arange(round(rng.uniform(0.12, 0.3) * RATE)) / RATE
    pitch = 120 * rng.uniform(0.85, 1.2) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0) + 0.01 * rng.normal(size=time.size)
    wave = signal.lfilter([1], [1, -0.95], pulses)
    for formant, bandwidth in zip(VOWELS[rng.integers(len(VOWELS))], BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * bandwidth / RATE)
        wave = signal.lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], wave)
    wave *= np.minimum(1, np.minimum(time, time[::-1]) / 0.03)
    return 0.3 * wave / np.abs(wave).max()


def _rustle(rng: np.random.Generator) -> np.ndarray:
    noise = 0.005 * rng.normal(size=round(rng.uniform(0.02, 0.1) * RATE))
    return signal.lfilter([1, -0.9], [1], noise)
