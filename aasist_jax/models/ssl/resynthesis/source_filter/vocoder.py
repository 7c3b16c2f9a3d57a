"""The vocoder: envelope of the spectrum, pulses and noise, and a minimum-phase filter, frame by frame.

The envelope is that of CheapTrick (Morise, 2015, Speech Communication 67, 1-7): a window of three periods, whose power
does not depend on where in a period it lies; smoothing over frequency; and a lifter that takes the harmonics out. The
smoothing is a product in the domain of the autocorrelation here.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.models.ssl.resynthesis.frames import Valid, Wave, copies, cut, fixed_noise, overlapped
from aasist_jax.models.ssl.resynthesis.source_filter import pitch as pitch_analysis
from aasist_jax.models.ssl.resynthesis.source_filter.pitch import BAND_CENTRES, LOWEST, Source, source_of
from aasist_jax.models.ssl.steps import Lengths, Waves

HOP = pitch_analysis.HOP // 2
"""Samples from one frame of the filter to the next (5 ms)."""

UNVOICED = 500.0
"""Hz, the pitch by which frames are windowed and smoothed that have none, as in CheapTrick."""

FAINTEST = 1e-14
"""The least power of the envelope per sample, far below the noise of 16 bits."""

_PARTS, _FFT = 9, 960
_SYNTHESIS_FFT = 480
_LIFTER = (1.18, -0.09)
"""The constants q0 and q1 of CheapTrick."""


def resynthesise(waves: Waves, lengths: Lengths) -> Waves:
    """Make copies of waves, as `ResynthesisKind` says."""
    return copies(_copy, waves, lengths)


def _copy(wave: Wave, valid: Valid) -> Wave:
    # Two frames more than begin in the wave, so that its last sample lies between the centres of two.
    frames = wave.size // pitch_analysis.HOP + 2
    source = _doubled(source_of(wave, valid.sum(), frames))
    filters = envelope_filters(wave, source.pitch)
    noise = _excited(fixed_noise(source.pitch.size * HOP, wave.dtype))
    pulses = _excited(pulse_train(source.pitch))
    share = jnp.matmul(source.noise, jnp.asarray(_HATS, wave.dtype), precision="highest")
    spectrum = filters * (pulses * jnp.sqrt(1 - share) + noise * jnp.sqrt(share))
    return overlapped(jnp.fft.irfft(spectrum, _SYNTHESIS_FFT), HOP)[HOP : HOP + wave.size]


def envelope_filters(wave: Wave, pitch: Float[Array, " frames"]) -> Complex[Array, "frames bins"]:
    """Minimum-phase filters that give white noise of unit variance the envelope of each frame."""
    pitch = jnp.where(pitch > 0, pitch, UNVOICED)[:, None]
    frames = cut(wave, _PARTS * HOP // 2, _PARTS, HOP, pitch.size)
    time = jnp.asarray(np.arange(_PARTS * HOP) - _PARTS * HOP // 2, wave.dtype)[None]
    half = 1.5 * SAMPLE_RATE / pitch
    window = jnp.where(jnp.abs(time) < half, 0.5 + 0.5 * jnp.cos(jnp.pi * time / half), 0)
    window = window / jnp.sqrt(jnp.square(window).sum(axis=1, keepdims=True))
    frames = frames * window
    frames = frames - window * (frames.sum(axis=1, keepdims=True) / window.sum(axis=1, keepdims=True))
    spectrum = jnp.fft.rfft(frames, _FFT)
    lags = jnp.fft.irfft(jnp.square(spectrum.real) + jnp.square(spectrum.imag), _FFT)[:, : _FFT // 2 + 1]
    quefrency = jnp.asarray(np.arange(_FFT // 2 + 1) / SAMPLE_RATE, wave.dtype)[None]
    smooth = _even_spectrum(lags * jnp.sinc(2 / 3 * pitch * quefrency), _FFT)
    cepstrum = jnp.fft.irfft(jnp.log(jnp.maximum(smooth, FAINTEST)), _FFT)[:, : _SYNTHESIS_FFT // 2]
    turns = pitch * quefrency[:, : _SYNTHESIS_FFT // 2]
    q0, q1 = _LIFTER
    cepstrum = cepstrum * jnp.sinc(turns) * (q0 + 2 * q1 * jnp.cos(2 * jnp.pi * turns))
    # Half of it for the amplitude; causal, which doubles all but the first, for minimum phase.
    return jnp.exp(jnp.fft.rfft(cepstrum.at[:, 0].multiply(0.5), _SYNTHESIS_FFT))


def pulse_train(pitch: Float[Array, " frames"]) -> Wave:
    """Pulses of the power of white noise of unit variance, up to 8 kHz; `HOP` samples for each frame.

    The sum of all harmonics has a closed form, the Dirichlet kernel, so that pulses need no place on the samples.
    """
    there = jnp.where(pitch > 0, pitch, jnp.roll(pitch, 1).at[0].set(0))
    following = jnp.roll(pitch, -1).at[-1].set(0)
    start = jnp.where(there > 0, there, jnp.where(following > 0, following, LOWEST))[:, None]
    end = jnp.where(following > 0, following, start[:, 0])[:, None]
    hertz = (start + (end - start) * jnp.asarray(np.arange(HOP) / HOP, pitch.dtype)[None]).reshape(-1)
    phase = jnp.cumsum(hertz / SAMPLE_RATE)
    phase = phase - jnp.round(phase)
    harmonics = jnp.floor(SAMPLE_RATE / 2 / hertz)
    below = jnp.sin(jnp.pi * phase)
    is_top = jnp.abs(below) < 1e-4
    kernel = jnp.sin(jnp.pi * (2 * harmonics + 1) * phase) / jnp.where(is_top, 1, below)
    kernel = jnp.where(is_top, 2 * harmonics + 1, kernel)
    return (kernel - 1) * jnp.sqrt(hertz / SAMPLE_RATE)


def _excited(wave: Wave) -> Complex[Array, "frames bins"]:
    """The spectra of overlapping frames under a Hann window, centred at the multiples of `HOP`."""
    window = jnp.asarray(0.5 - 0.5 * np.cos(np.pi * np.arange(2 * HOP) / HOP), wave.dtype)
    return jnp.fft.rfft(cut(wave, HOP, 2, HOP, wave.size // HOP) * window[None], _SYNTHESIS_FFT)


def _even_spectrum(lags: Float[Array, "frames half"], size: int) -> Float[Array, "frames half"]:
    """The spectrum of an even sequence, given its first half."""
    return jnp.fft.rfft(jnp.concatenate([lags, lags[:, -2:0:-1]], axis=1), size).real


def _doubled(source: Source) -> Source:
    """Every 5 ms instead of 10: between two frames their mean, or what the one of them has that is voiced."""
    following = jnp.append(source.pitch[1:], 0)
    are_voiced = (source.pitch > 0) & (following > 0)
    pitch = jnp.where(are_voiced, (source.pitch + following) / 2, jnp.maximum(source.pitch, following))
    noise = jnp.concatenate([source.noise[1:], jnp.ones_like(source.noise[:1])])
    noise = jnp.where(are_voiced[:, None], (source.noise + noise) / 2, jnp.minimum(source.noise, noise))
    return Source(
        jnp.stack([source.pitch, pitch], axis=1).reshape(-1),
        jnp.stack([source.noise, noise], axis=1).reshape(-1, len(BAND_CENTRES)),
    )


def _hats() -> Float[np.ndarray, "bands bins"]:
    """Interpolates linearly from bands to bins."""
    hertz = np.fft.rfftfreq(_SYNTHESIS_FFT, 1 / SAMPLE_RATE)
    return np.stack([np.interp(hertz, BAND_CENTRES, row) for row in np.eye(len(BAND_CENTRES))])


_HATS = _hats()
