"""Impulse responses of rooms, and the convolution of a wave with one."""

import numpy as np
from scipy import signal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.augmentation.sound.levels import level_of

_FIRST_REFLECTION = SAMPLE_RATE * 3 // 1000


def decaying_response(rt60: float, rng: np.random.Generator, direct_to_reverberant: float = 0.0) -> OtherWave:
    """A room impulse response: 1 at 0, from 3 ms on Gaussian noise whose power falls by 60 dB in RT60 (Polack, 1988).

    Args:
        rt60: in seconds, above 3 ms.
        rng: random numbers of the tail.
        direct_to_reverberant: energy of the direct sound over that of the tail, in dB; 0 is that at the critical
            distance of a room.
    """
    time = np.arange(round(rt60 * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(time.size) * 10 ** (-3 * time / rt60)
    response[:_FIRST_REFLECTION] = 0.0
    response /= np.sqrt(np.sum(response**2))
    if direct_to_reverberant:
        response *= 10 ** (-direct_to_reverberant / 20)
    response[0] = 1.0
    return response


def reverberate(wave: Wave, response: OtherWave) -> OtherWave:
    """Convolve; the result is as long as the wave and has its level of speech."""
    reverberant = signal.oaconvolve(wave, response)[: wave.size]
    return reverberant * 10 ** ((level_of(wave) - level_of(reverberant)) / 20)
