"""Whisper's log-mel spectrogram (Radford et al., 2022, arXiv:2212.04356, section 2.2), in JAX."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aasist_jax.audio.limits import SAMPLE_RATE

FFT, HOP = 400, 160
"""Samples of a frame (25 ms) and from one frame to the next (10 ms)."""

SHORTEST = FFT // 2 + 1
"""Samples that a waveform must have, since half a frame is reflected at its start."""

_BLOCK = 80
"""Samples of the blocks that frames are made of: the greatest common divisor of frame and hop."""

_FLOOR = 1e-10
"""The least power of a filter that is told from silence."""

_RANGE = 8.0
"""What lies more than so many powers of ten below the waveform's loudest value is raised to there."""


def log_mel(
    waves: Float[Array, "batch samples"], filters: int = 80, lengths: Int[Array, " batch"] | None = None
) -> Float[Array, "batch frames {filters}"]:
    """Compute Whisper's input from waveforms at 16 kHz, full scale 1.

    Frames are centred, with 200 samples reflected at either end; the last one is dropped, which leaves
    floor(samples / 160). The power of each filter is floored at 1e-10, taken to log10, raised to 8 below the largest
    value of its own waveform, and mapped by (x + 4) / 4; silence is -1.5. OpenAI's code takes the largest value of the
    whole batch, which lets a clip's result depend on its neighbours.

    Whisper itself fills every waveform with zeros to 30 s first. That is left to the caller, since it changes all that
    an encoder makes of the spectrogram.

    Args:
        waves: waveforms. The result is computed in their type, float32 at least.
        filters: mel filters: 80, or 128 for Whisper large-v3.
        lengths: number of valid samples of each waveform, at least 201; the rest is padding. Frames beyond
            floor(length / 160) are zero. None: every sample is valid.

    Returns:
        The spectrogram with the filters last, as the encoder's convolutions want it.

    Raises:
        ValueError: the waveforms are shorter than 201 samples.
    """
    samples = waves.shape[1]
    if samples < SHORTEST:
        raise ValueError(f"waves: a log-mel spectrogram needs {SHORTEST} samples or more, got {samples}")
    waves = waves.astype(jnp.promote_types(waves.dtype, jnp.float32))
    power = _power_spectrum(_reflected(waves, lengths), samples // HOP)
    bank = jnp.asarray(mel_filters(filters).T, power.dtype)
    # In full precision on every device: the logarithm spreads what reduced precision does to quiet frames.
    levels = jnp.log10(jnp.maximum(jnp.matmul(power, bank, precision="highest"), _FLOOR))
    if lengths is None:
        return (jnp.maximum(levels, levels.max(axis=(1, 2), keepdims=True) - _RANGE) + 4) / 4
    valid = (jnp.arange(samples // HOP)[None, :] < (lengths // HOP)[:, None])[:, :, None]
    loudest = levels.max(axis=(1, 2), keepdims=True, where=valid, initial=np.log10(_FLOOR))
    return jnp.where(valid, (jnp.maximum(levels, loudest - _RANGE) + 4) / 4, 0)


@functools.lru_cache(maxsize=8)
def mel_filters(filters: int, fft: int = FFT, rate: int = SAMPLE_RATE) -> Float[np.ndarray, "filters bins"]:
    """Compute the triangular filters on the bins of an `fft`, float64 (Slaney's Auditory Toolbox, 1998).

    Centres are evenly spaced in mel from 0 Hz to 8 kHz, where a mel is 200/3 Hz below 1 kHz and a constant ratio above.
    Each triangle has the area 1 over frequency. `rate` is that of the waveform, 16 kHz or more.
    """
    edges = _mel_to_hertz(np.linspace(0, _hertz_to_mel(SAMPLE_RATE / 2), filters + 2))
    bins = np.linspace(0, rate / 2, fft // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    bank: np.ndarray = triangles * 2 / (high - low)
    bank.flags.writeable = False
    return bank


_LINEAR_MEL, _BREAK = 200 / 3, 1000.0
_STEP = np.log(6.4) / 27
"""Natural logarithm of the frequencies' ratio from one mel to the next, above 1 kHz."""


def _hertz_to_mel(frequency: float) -> float:
    if frequency < _BREAK:
        return frequency / _LINEAR_MEL
    return float(_BREAK / _LINEAR_MEL + np.log(frequency / _BREAK) / _STEP)


def _mel_to_hertz(mel: Float[np.ndarray, " edges"]) -> Float[np.ndarray, " edges"]:
    first = _BREAK / _LINEAR_MEL
    # The exponent is cut off, so that what is not selected cannot overflow.
    result: np.ndarray = np.where(mel < first, mel * _LINEAR_MEL, _BREAK * np.exp(_STEP * np.maximum(mel - first, 0)))
    return result


def _reflected(waves: Array, lengths: Array | None) -> Array:
    """Put half a frame of reflected samples before each waveform, and as many behind it as the last frame needs."""
    samples = waves.shape[1]
    start = waves[:, FFT // 2 : 0 : -1]
    behind = max(0, samples // HOP * HOP + FFT // 2 - HOP - samples)
    if lengths is None:
        return jnp.concatenate([start, waves, waves[:, -2 : -2 - behind : -1]], axis=1)
    # Behind a waveform that ends earlier, the reflection lies where the padding was.
    place = jnp.arange(samples + behind)[None, :]
    end = lengths[:, None]
    source = jnp.where(place < end, place, jnp.clip(2 * (end - 1) - place, 0, samples - 1))
    return jnp.concatenate([start, jnp.take_along_axis(waves, source, axis=1)], axis=1)


def _power_spectrum(waves: Array, frames: int) -> Array:
    """Take |FFT|^2 of the first `frames` frames under a periodic Hann window: (batch, frames, 201)."""
    parts = FFT // _BLOCK
    stride = HOP // _BLOCK
    blocks = stride * (frames - 1) + parts
    cut = waves[:, : blocks * _BLOCK].reshape(waves.shape[0], blocks, _BLOCK)
    # Frame t is made of the blocks from `stride * t` on: slices with a stride, where a gather would be slow.
    pieces = [cut[:, part : part + stride * (frames - 1) + 1 : stride] for part in range(parts)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
    spectrum = jnp.fft.rfft(jnp.concatenate(pieces, axis=2) * jnp.asarray(window, waves.dtype).reshape(1, 1, -1))
    return jnp.square(spectrum.real) + jnp.square(spectrum.imag)
