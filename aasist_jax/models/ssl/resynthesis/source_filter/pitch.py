"""Pitch, and how periodic each band is, from the autocorrelation of frames.

The autocorrelation of a windowed frame is divided by that of the window, as Boersma (1993, Proc. Institute of Phonetic
Sciences Amsterdam 17, 97-110) does.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.models.ssl.resynthesis.frames import Wave, cut

HOP = 160
"""Samples from one frame to the next (10 ms)."""

LOWEST, HIGHEST = 70.0, 500.0
"""Hz, the range of the pitch."""

BAND_CENTRES = (500.0, 1500.0, 2500.0, 3500.0, 5000.0, 7000.0)
"""Hz; between two of them the share of noise is interpolated."""

_PARTS, _FFT = 5, 1080
_SIZE = _PARTS * HOP
_SHORTEST, _LONGEST = int(SAMPLE_RATE / HIGHEST), int(SAMPLE_RATE / LOWEST) + 1
"""Samples of a period."""

_PASSED = (50.0, 800.0, 1600.0)
"""Hz: the pitch is sought from the first on, fully up to the second, and up to the third."""

_LONG_COSTS = 0.03
"""What a candidate loses for each octave that it lies lower: a multiple of a period is a period as well."""

_VOICED = 0.45
"""The least autocorrelation of a voiced frame."""

_FAINTEST, _FAINTEST_OF_LOUDEST = 1e-10, 1e-3
"""The least power of a voiced frame: absolutely, and as a share of the loudest frame's."""

_NEAR = (0.99, 0.995, 1.0, 1.005, 1.01)
"""Periods, as multiples of the one found, at which a band's periodicity is sought, since high harmonics are narrow."""

_LEAST_NOISE = 1e-3


class Source(NamedTuple):
    """What is to excite the filter, every 10 ms.

    Attributes:
        pitch: Hz, 0 where the frame is not voiced.
        noise: the share of noise in the power of each band of `BAND_CENTRES`, 0 to 1.
    """

    pitch: Float[Array, " frames"]
    noise: Float[Array, "frames bands"]


def source_of(wave: Wave, length: Int[Array, ""], frames: int) -> Source:
    """Analyse frames that are centred at the multiples of `HOP`; those from `length` on are not voiced."""
    window = jnp.asarray(_WINDOW, wave.dtype)
    spectrum = jnp.fft.rfft(cut(wave, _SIZE // 2, _PARTS, HOP, frames) * window[None], _FFT)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    lags = jnp.fft.irfft(power * jnp.asarray(_PASS, wave.dtype)[None], _FFT)[:, : _LONGEST + 2]
    level = lags[:, 0]
    correlation = lags / (level[:, None] + _FAINTEST * 1e-3) / jnp.asarray(_OF_WINDOW, wave.dtype)[None]
    period, strength = _best_period(correlation)
    is_loud = level > jnp.maximum(_FAINTEST * _SIZE, _FAINTEST_OF_LOUDEST * level.max())
    is_voiced = (strength > _VOICED) & is_loud & (jnp.arange(frames) * HOP < length)
    pitch = _median(jnp.where(is_voiced, SAMPLE_RATE / period, 0))
    return Source(pitch, _share_of_noise(power, pitch))


def _best_period(
    correlation: Float[Array, "frames lags"],
) -> tuple[Float[Array, " frames"], Float[Array, " frames"]]:
    """The period in samples, placed between lags by a parabola, and the autocorrelation there."""
    left, middle, right = (correlation[:, _SHORTEST + i : _LONGEST + 1 + i] for i in (-1, 0, 1))
    places = np.arange(_SHORTEST, _LONGEST + 1)
    cost = jnp.asarray(_LONG_COSTS * np.log2(places / _SHORTEST), correlation.dtype)
    is_peak = (middle > left) & (middle >= right)
    best = jnp.argmax(jnp.where(is_peak, middle - cost[None], -1), axis=1)
    before, at, after = (jnp.take_along_axis(x, best[:, None], axis=1)[:, 0] for x in (left, middle, right))
    bend = jnp.minimum(before - 2 * at + after, -1e-6)
    shift = jnp.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    found = jnp.where(is_peak.any(axis=1), at - 0.25 * (before - after) * shift, 0)
    return (best + _SHORTEST).astype(at.dtype) + shift, found


def _median(pitch: Float[Array, " frames"]) -> Float[Array, " frames"]:
    """The median of five frames; beyond the ends, they are not voiced."""
    padded = jnp.pad(pitch, 2)
    return jnp.median(jnp.stack([padded[i : i + pitch.size] for i in range(5)]), axis=0)


def _share_of_noise(power: Float[Array, "frames bins"], pitch: Float[Array, " frames"]) -> Float[Array, "frames bands"]:
    """1 less the autocorrelation of each band at the period: the share of what does not repeat."""
    bands = jnp.asarray(_BANDS, power.dtype)
    in_band = jnp.matmul(power, bands, precision="highest") + _FAINTEST * 1e-3
    period = SAMPLE_RATE / jnp.maximum(pitch, LOWEST)
    turns = jnp.asarray(np.arange(power.shape[1]) / _FFT, power.dtype)
    best = jnp.zeros_like(in_band)
    for near in _NEAR:
        lag = period * near
        repeated = jnp.matmul(power * jnp.cos(2 * jnp.pi * lag[:, None] * turns[None]), bands, precision="highest")
        of_window = jnp.interp(lag, jnp.arange(_OF_WINDOW.size), jnp.asarray(_OF_WINDOW, power.dtype))
        best = jnp.maximum(best, repeated / in_band / of_window[:, None])
    return jnp.where((pitch > 0)[:, None], jnp.clip(1 - best, _LEAST_NOISE, 1), 1)


def _hann() -> Float[np.ndarray, "size"]:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_SIZE) / _SIZE)


def _pass() -> Float[np.ndarray, "bins"]:
    """The weight of each bin when the pitch is sought."""
    hertz = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)
    lowest, full, last = _PASSED
    return (hertz >= lowest) * (0.5 + 0.5 * np.cos(np.pi * np.clip((hertz - full) / (last - full), 0, 1)))


def _bands() -> Float[np.ndarray, "bins bands"]:
    """Which bins belong to which band: those nearer to its centre than to another one."""
    distance = np.abs(np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)[:, None] - np.array(BAND_CENTRES)[None])
    return (distance == distance.min(axis=1, keepdims=True)).astype(float)


def _of_window() -> Float[np.ndarray, "lags"]:
    """The autocorrelation of the window, 1 at lag 0."""
    found = np.fft.irfft(np.abs(np.fft.rfft(_WINDOW, 2 * _SIZE)) ** 2)[: _LONGEST + 2]
    return found / found[0]


_WINDOW, _PASS, _BANDS = _hann(), _pass(), _bands()
_OF_WINDOW = _of_window()
