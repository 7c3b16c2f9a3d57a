"""Noise of any colour."""

import numpy as np

from aasist_jax.augmentation.sound import OtherWave


def coloured_noise(samples: int, rng: np.random.Generator, slope: float) -> OtherWave:
    """Gaussian noise whose power density falls as 1/f**slope: 0 is white, 1 pink, 2 brown; its level is arbitrary."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum[1:] /= np.arange(1, spectrum.size) ** (slope / 2)
    spectrum[0] = 0
    return np.fft.irfft(spectrum, samples)
