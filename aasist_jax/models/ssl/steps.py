"""Sequences of steps in the networks of encoders and heads: their types, where they end, their positions."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

Waves = Float[Array, "batch samples"]
Lengths = Int[Array, " batch"] | None
"""The valid samples of each wave; None where all are."""

Steps = Float[Array, "batch steps width"]
HiddenStates = tuple[Steps, ...]
Valid = Bool[Array, "batch steps"]
"""Which steps are no padding."""


def before(ends: Int[Array, " batch"], steps: int) -> Valid:
    """The steps of each row that lie before its end."""
    return jnp.arange(steps)[None, :] < ends[:, None]


def masked(scores: Float[Array, "*shape"], valid: Bool[Array, "..."] | None) -> Float[Array, "*shape"]:
    """Scores for a softmax over the last axis, which gives no weight to steps that are not valid."""
    return scores if valid is None else jnp.where(valid, scores, -jnp.inf)


def held(x: Steps, is_frozen: bool) -> Steps:
    """The same steps, through which no gradient goes where they are frozen."""
    return jax.lax.stop_gradient(x) if is_frozen else x


class Positions(nn.Module):
    """Adds row t of a table of positions to step t. The table is kept with the weights, and not trained.

    Attributes:
        name_of_table: the variable that holds it.
        make_table: makes it, given the width. The axes before the last two, if any, have the size 1.
    """

    name_of_table: str
    make_table: Callable[[int], np.ndarray]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Steps) -> Steps:
        """Add the first rows of the table."""
        width = x.shape[2]
        table = self.param(self.name_of_table, lambda _: jnp.asarray(self.make_table(width), jnp.float32))
        rows = jnp.asarray(table, self.dtype).reshape(-1, width)[: x.shape[1]]
        return x + jax.lax.stop_gradient(rows)[None]
