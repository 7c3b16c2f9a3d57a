"""Phases for a mel spectrogram, by the accelerated algorithm of Griffin and Lim.

Griffin and Lim, 1984, IEEE Trans. ASSP 32, 236-243; accelerated by Perraudin, Balazs and Sondergaard, 2013, WASPAA.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from aasist_jax.features.log_mel import mel_filters
from aasist_jax.models.ssl.resynthesis.frames import Valid, Wave, copies, cut, fixed_noise, overlapped
from aasist_jax.models.ssl.steps import Lengths, Waves

FFT, HOP = 1024, 256
"""Samples of a frame (64 ms) and from one frame to the next (16 ms)."""

BANDS = 80

_MOMENTUM = 0.99
_EDGE = FFT - HOP
"""Samples before the wave at which the first frame begins, so that all samples lie in as many frames."""

_OVERLAP = 1.5
"""The sum of the squares of the Hann windows that a sample lies in."""

_FAINTEST = 1e-24
"""The least power of a bin that has a phase of its own."""

Spectrum = Complex[Array, "frames bins"]


def resynthesise(waves: Waves, lengths: Lengths, iterations: int) -> Waves:
    """Make copies of waves, as `ResynthesisKind` says. The first phases are those of a fixed noise."""
    return copies(partial(_copy, iterations=iterations), waves, lengths)


def mel_magnitude(spectrum: Spectrum) -> Float[Array, "frames bins"]:
    """The magnitude of a spectrum as far as it follows from that of its mel bands (their pseudo-inverse)."""
    magnitude = jnp.sqrt(jnp.square(spectrum.real) + jnp.square(spectrum.imag) + _FAINTEST)
    mel = jnp.matmul(magnitude, jnp.asarray(_MEL.T, magnitude.dtype), precision="highest")
    return jnp.maximum(jnp.matmul(mel, jnp.asarray(_INVERSE.T, magnitude.dtype), precision="highest"), 0)


def _copy(wave: Wave, valid: Valid, iterations: int) -> Wave:
    magnitude = mel_magnitude(_transform(wave))

    def iterate(_: Any, carried: tuple[Spectrum, Spectrum]) -> tuple[Spectrum, Spectrum]:
        aimed, last = carried
        possible = _transform(_inverse(magnitude * _phase(aimed), valid))
        return possible + _MOMENTUM * (possible - last), possible

    noise = _transform(jnp.where(valid, fixed_noise(wave.size, wave.dtype), 0))
    aimed, _ = jax.lax.fori_loop(0, iterations, iterate, (noise, jnp.zeros_like(noise)))
    return _inverse(magnitude * _phase(aimed), valid)


def _phase(spectrum: Spectrum) -> Spectrum:
    """The spectrum with magnitude 1, or 0 where it is 0."""
    return spectrum * jax.lax.rsqrt(jnp.square(spectrum.real) + jnp.square(spectrum.imag) + _FAINTEST)


def _transform(wave: Wave) -> Spectrum:
    frames = (wave.size + _EDGE - 1) // HOP + 1
    return jnp.fft.rfft(cut(wave, _EDGE, FFT // HOP, HOP, frames) * jnp.asarray(_WINDOW, wave.dtype)[None])


def _inverse(spectrum: Spectrum, valid: Valid) -> Wave:
    """The wave whose spectrum is the nearest to this one, by least squares; zeros where it is not valid."""
    frames = jnp.fft.irfft(spectrum, FFT)
    wave = overlapped(frames * jnp.asarray(_WINDOW / _OVERLAP, frames.dtype)[None], HOP)
    return jnp.where(valid, wave[_EDGE : _EDGE + valid.size], 0)


_WINDOW = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
_MEL = mel_filters(BANDS, FFT)
_INVERSE = np.linalg.pinv(_MEL)
