"""A bank of pseudo quadrature mirror filters: a wave in equal bands, each at a lower rate, and back.

Nguyen (IEEE Trans. Signal Processing 42, 1994); the prototype is Kaiser's window, its edge chosen after Lin and
Vaidyanathan (IEEE Signal Processing Letters 5, 1998). What comes back differs from the wave at -60 dB, and more at
its ends, beyond which zeros are seen.
"""

from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize, signal

_REACH = 8
"""Half the length of the filters, in samples of a band."""

_BETA = 9.0


def analyse(waves: Float[Array, "batch samples"], bands: int) -> Float[Array, "batch steps {bands}"]:
    """Split waves into bands from low to high; zeros before and after.

    Args:
        waves: a multiple of `bands` samples.
        bands: how many; each is of width (rate / 2 / bands), at (rate / bands) steps a second.
    """
    blocks = jnp.pad(waves, ((0, 0), (_REACH * bands, _REACH * bands))).reshape(waves.shape[0], -1, bands)
    return _slices(blocks, 2 * _REACH) @ jnp.asarray(_filters(bands)[0], waves.dtype)


def synthesise(parts: Float[Array, "batch steps bands"]) -> Float[Array, "batch samples"]:
    """Put bands together again."""
    padded = jnp.pad(parts, ((0, 0), (_REACH - 1, _REACH + 1), (0, 0)))
    made = _slices(padded, 2 * _REACH) @ jnp.asarray(_filters(parts.shape[2])[1], parts.dtype)
    return made.reshape(parts.shape[0], -1)


def _slices(blocks: Float[Array, "batch more_steps channels"], count: int) -> Float[Array, "batch steps many"]:
    steps = blocks.shape[1] - count
    return jnp.concatenate([blocks[:, part : part + steps] for part in range(count)], axis=2)


@cache
def _filters(bands: int) -> tuple[Float[np.ndarray, "taps bands"], Float[np.ndarray, "steps_times_bands bands"]]:
    """Matrices from the samples around a step to its bands, and from the bands around it to its samples."""
    taps = 2 * _REACH * bands
    prototype = np.append(_prototype(bands), 0.0)
    time = np.arange(taps)[:, None] - (taps - 2) / 2
    band = np.arange(bands)[None]
    angle, turn = (2 * band + 1) * np.pi / (2 * bands) * time, np.where(band % 2, -1, 1) * np.pi / 4
    there = 2 * prototype[:, None] * np.cos(angle + turn)
    back = 2 * bands * prototype[:, None] * np.cos(angle - turn)
    # Steps from the last before a sample that reaches it on; of a step, each sample sees another tap.
    step, sample = np.arange(2 * _REACH)[:, None], np.arange(bands)[None]
    tap = sample - (step - _REACH + 1) * bands + (taps - 2) // 2
    seen = np.where(((tap >= 0) & (tap < taps))[..., None], back[np.clip(tap, 0, taps - 1)], 0.0)
    return there[::-1], seen.transpose(0, 2, 1).reshape(-1, bands)


def _prototype(bands: int) -> Float[np.ndarray, " taps"]:
    """A low-pass filter whose autocorrelation is as near to zero as can be at multiples of two steps."""
    taps = 2 * _REACH * bands - 1

    def low_pass(cutoff: float) -> Float[np.ndarray, " taps"]:
        return signal.firwin(taps, cutoff, window=("kaiser", _BETA))

    def overlap(cutoff: float) -> float:
        correlation = np.convolve(low_pass(cutoff), low_pass(cutoff))[taps - 1 :: 2 * bands]
        return float(np.max(np.abs(correlation[1:])))

    found = optimize.minimize_scalar(
        overlap, bounds=(0.5 / bands, 0.7 / bands), method="bounded", options={"xatol": 1e-6}
    )
    return low_pass(float(found.x))
