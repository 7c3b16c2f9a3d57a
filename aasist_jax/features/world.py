"""WORLD's analysis and synthesis (Morise, Yokomori and Ozawa, 2016, IEICE Trans. E99-D), by the package pyworld.

Waves are float64 at 16 kHz. The same wave always gives the same result, in any thread.
"""

import numpy as np
import pyworld
from jaxtyping import Float

from aasist_jax.audio.limits import SAMPLE_RATE

HOP_MS = 5.0

_SHORTEST = 1600
"""Samples (100 ms) to which shorter waves are filled up with zeros, so that frames have something to lie in."""


def pitch(wave: Float[np.ndarray, "samples"]) -> tuple[Float[np.ndarray, "hops"], Float[np.ndarray, "hops"]]:
    """F0 every 5 ms in Hz, 0 where unvoiced, and the times in seconds (DIO and StoneMask)."""
    wave = np.ascontiguousarray(wave)
    coarse, times = pyworld.dio(wave, SAMPLE_RATE, frame_period=HOP_MS)
    return pyworld.stonemask(wave, coarse, times, SAMPLE_RATE), times


def world_copy(wave: Float[np.ndarray, "samples"]) -> Float[np.ndarray, "samples"]:
    """Resynthesise a wave from F0, spectral envelope (CheapTrick) and aperiodicity (D4C)."""
    filled = np.pad(wave, (0, max(_SHORTEST - wave.size, 0)))
    f0, times = pitch(filled)
    envelope = pyworld.cheaptrick(filled, f0, times, SAMPLE_RATE)
    aperiodicity = pyworld.d4c(filled, f0, times, SAMPLE_RATE)
    copy = pyworld.synthesize(f0, envelope, aperiodicity, SAMPLE_RATE, HOP_MS)
    return np.pad(copy, (0, max(wave.size - copy.size, 0)))[: wave.size]
