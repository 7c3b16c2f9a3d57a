"""Spectra of waves at 16 kHz in JAX: what our vocoders are given, what they are judged by, and the way back."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.corpus.neural_vocoders.mel import FFT, HOP, mel_filters

RESOLUTIONS = ((256, 64), (512, 128), (1024, 256))
"""Samples of a frame and of a hop, of the spectra that are compared."""

_FLOOR = 1e-5
_LEAST_POWER = 1e-10


def frames_of(waves: Float[Array, "batch samples"], size: int, hop: int) -> Float[Array, "batch frames {size}"]:
    """Cut waves into frames, one for each whole hop, centred on it: both ends are reflected.

    Args:
        waves: a multiple of the hop long, and longer than half a frame.
        size: samples of a frame, a multiple of the hop.
        hop: from frame to frame.
    """
    padded = jnp.pad(waves, ((0, 0), ((size - hop) // 2, (size - hop) - (size - hop) // 2)), mode="reflect")
    blocks = padded.reshape(waves.shape[0], -1, hop)
    count = waves.shape[1] // hop
    # Slices put side by side, where a gather would be slow.
    return jnp.concatenate([blocks[:, part : part + count] for part in range(size // hop)], axis=2)


def magnitudes(waves: Float[Array, "batch samples"], size: int, hop: int) -> Float[Array, "batch frames bins"]:
    """The magnitudes of the short-time Fourier transform under a periodic Hann window, at least 1e-5."""
    spectrum = jnp.fft.rfft(frames_of(waves, size, hop) * _hann(size))
    # The floor is inside the root, whose slope at zero is infinite.
    return jnp.sqrt(jnp.maximum(jnp.square(spectrum.real) + jnp.square(spectrum.imag), _LEAST_POWER))


def log_mel(waves: Float[Array, "batch samples"]) -> Float[Array, "batch frames 80"]:
    """The natural logarithm of 80 mel bands of 0 to 8 kHz, at least 1e-5, of waves at 16 kHz: a frame per 256 samples.

    Args:
        waves: in [-1, 1], a multiple of 256 samples, 512 at least.
    """
    bands = jnp.matmul(magnitudes(waves, FFT, HOP), jnp.asarray(mel_filters(SAMPLE_RATE).T, waves.dtype))
    return jnp.log(jnp.maximum(bands, _FLOOR))


def inverse(spectrum: Complex[Array, "batch frames 513"]) -> Float[Array, "batch samples"]:
    """The waves, 256 samples a frame, whose spectra in frames of 1024 are nearest (Griffin, Lim, 1984, eq. 6)."""
    batch, count, _ = spectrum.shape
    parts = FFT // HOP
    pieces = (jnp.fft.irfft(spectrum, FFT) * _hann(FFT)).reshape(batch, count, parts, HOP)
    added = _add_overlapping(pieces)
    weight = _add_overlapping(jnp.tile(jnp.square(_hann(FFT)).reshape(1, 1, parts, HOP), (1, count, 1, 1)))
    edge = (FFT - HOP) // 2
    samples = (added / jnp.maximum(weight, 1e-3)).reshape(batch, -1)
    return samples[:, edge : edge + count * HOP]


def _add_overlapping(pieces: Float[Array, "batch frames parts hop"]) -> Float[Array, "batch blocks hop"]:
    parts = pieces.shape[2]
    return functools.reduce(
        jnp.add,
        [jnp.pad(pieces[:, :, part], ((0, 0), (part, parts - 1 - part), (0, 0))) for part in range(parts)],
    )


def _hann(size: int) -> Float[Array, "1 1 size"]:
    return jnp.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size), jnp.float32).reshape(1, 1, size)
