"""Copies by WORLD, which the compiled program asks Python on the host for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from aasist_jax.features.world import world_copy
from aasist_jax.models.ssl.resynthesis.frames import Wave
from aasist_jax.models.ssl.steps import Lengths, Waves

_PIECE = 96 * 1024
"""Bytes of an argument. JAX copies larger ones in another thread of the pool that the call runs in, which waits for the
copy: for ever, where there is one core."""


def resynthesise(waves: Waves, lengths: Lengths) -> Waves:
    """Make copies of waves, one after the other, as `ResynthesisKind` says. No gradient goes through them."""
    ends = jnp.full(waves.shape[:1], waves.shape[1]) if lengths is None else lengths
    waves = jax.lax.stop_gradient(waves)
    return jax.lax.map(lambda each: _asked_for(*each), (waves, ends))


def _asked_for(wave: Wave, length: Int[Array, ""]) -> Wave:
    size = _PIECE // wave.dtype.itemsize
    pieces = [wave[start : start + size] for start in range(0, wave.size, size)]
    shape = jax.ShapeDtypeStruct(wave.shape, wave.dtype)
    return jax.pure_callback(_on_host, shape, length, *pieces, vmap_method="sequential")


def _on_host(length: Any, *pieces: Any) -> np.ndarray:
    wave, end = np.concatenate([np.asarray(piece) for piece in pieces]), int(length)
    copy = np.zeros_like(wave)
    copy[:end] = world_copy(wave[:end].astype(np.float64))
    return copy
