"""What toys share: what all modules take, and the bands of two of them."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp


class ToyModule(nn.Module):
    """A module of a toy family, built as `module(config, dtype=..., axis_name=...)`."""

    config: Any
    dtype: Any = jnp.float32
    axis_name: str | None = None


@dataclass(frozen=True)
class BandsConfig:
    """Windows of `samples`, in bands of `width` neighbouring ones. Each family derives its own."""

    samples: int
    width: int = 100


def band_magnitudes(waves: Any, width: int) -> Any:
    """The mean magnitude of every place within a band, over the bands: (batch, width)."""
    bands = waves[:, : waves.shape[1] // width * width].reshape(waves.shape[0], -1, width)
    return jnp.abs(bands).mean(1)
