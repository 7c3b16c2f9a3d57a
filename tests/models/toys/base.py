"""What the modules of all toys take: their configuration, the type to compute in, and the axis of the devices."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp


class ToyModule(nn.Module):
    """A module of a toy family, built as `module(config, dtype=..., axis_name=...)`."""

    config: Any
    dtype: Any = jnp.float32
    axis_name: str | None = None
