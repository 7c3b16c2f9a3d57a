"""Copies by WORLD, which the compiled program asks Python on the host for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from aasist_jax.features.world import world_copy
from aasist_jax.models.ssl.resynthesis.frames import Wave
from aasist_jax.models.ssl.steps import Lengths, Waves

_PIECE = 24_000
"""Samples of an argument, less than 100 KiB. JAX copies larger ones in another thread of the pool that the call runs in
and that waits for the copy: for ever, where there is one core."""


def resynthesise(waves: Waves, lengths: Lengths) -> Waves:
    """Make copies of waves, one after the other, as `ResynthesisKind` says. No gradient goes through them.

    WORLD computes in float64. Waves and copies are handed over in float32, since the thread that calls Python need not
    have 64-bit types enabled.
    """
    ends = jnp.full(waves.shape[:1], waves.shape[1]) if lengths is None else lengths
    given = jax.lax.stop_gradient(waves).astype(jnp.float32), ends.astype(jnp.int32)
    return jax.lax.map(lambda each: _asked_for(*each), given).astype(waves.dtype)


def _asked_for(wave: Wave, length: Int[Array, ""]) -> Wave:
    pieces = [wave[start : start + _PIECE] for start in range(0, wave.size, _PIECE)]
    shape = jax.ShapeDtypeStruct(wave.shape, wave.dtype)
    return jax.pure_callback(_on_host, shape, length, *pieces, vmap_method="sequential")


def _on_host(length: Any, *pieces: Any) -> np.ndarray:
    wave, end = np.concatenate([np.asarray(piece) for piece in pieces]), int(length)
    copy = np.zeros_like(wave)
    copy[:end] = world_copy(wave[:end].astype(np.float64))
    return copy
