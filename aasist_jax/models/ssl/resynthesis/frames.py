"""What the vocoders share: one wave after the other, its frames, their sum with overlap, a noise that never changes."""

import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from aasist_jax.models.ssl.steps import Lengths, Waves, before

Wave = Float[Array, " samples"]

Valid = Bool[Array, " samples"]
"""Which samples of a wave are no padding."""

NOISE_PERIOD = 1 << 15
"""Samples (2 s) after which the noise repeats. It is a constant of every exported program."""


def copies(copy: Callable[[Wave, Valid], Wave], waves: Waves, lengths: Lengths) -> Waves:
    """Map every wave of a batch by `copy`, which gets it and which of its samples are valid; the others are zeros.

    It is computed in the type of the waves, float32 at least. No gradient goes through the copies.
    """
    samples = waves.shape[1]
    ends = jnp.full(waves.shape[:1], samples) if lengths is None else lengths
    valid = before(ends, samples)
    exact = jnp.where(valid, waves, 0).astype(jnp.promote_types(waves.dtype, jnp.float32))

    def one_by_one(waves: Waves, valid: Array) -> Waves:
        return jax.lax.map(lambda each: copy(*each), (waves, valid))

    # On a CPU, what a wave takes stays in the cache; a batch at a time takes 1.3 to 2 times as long.
    made = jax.lax.platform_dependent(jax.lax.stop_gradient(exact), valid, cpu=one_by_one, default=jax.vmap(copy))
    return jnp.where(valid, made, 0).astype(waves.dtype)


def cut(wave: Wave, before: int, parts: int, hop: int, frames: int) -> Float[Array, "frames size"]:
    """Frames of `parts * hop` samples, `hop` apart, the first of which begins `before` samples ahead of the wave.

    What lies outside of the wave is zero. Frames are joined from slices, since a gather would be slow on a CPU.
    """
    blocks = frames + parts - 1
    wave = wave[: max(blocks * hop - before, 0)]
    padded = jnp.pad(wave, (before, blocks * hop - before - wave.size)).reshape(blocks, hop)
    return jnp.concatenate([padded[part : part + frames] for part in range(parts)], axis=1)


def overlapped(frames: Float[Array, "frames size"], hop: int) -> Float[Array, " _samples"]:
    """The sum of frames that lie `hop` samples apart, from the first sample of the first one."""
    count, parts = frames.shape[0], frames.shape[1] // hop
    pieces = frames.reshape(count, parts, hop)
    shifted = [jnp.pad(pieces[:, part], ((part, parts - 1 - part), (0, 0))) for part in range(parts)]
    return functools.reduce(operator.add, shifted).reshape(-1)


def fixed_noise(samples: int, dtype: np.dtype) -> Wave:
    """White Gaussian noise of unit variance, the same at every call and in every type up to its rounding."""
    table = jnp.asarray(_noise_table(), dtype)
    return jnp.tile(table, -(-samples // NOISE_PERIOD))[:samples]


@functools.cache
def _noise_table() -> Float[np.ndarray, "period"]:
    return np.random.default_rng(0).standard_normal(NOISE_PERIOD)
