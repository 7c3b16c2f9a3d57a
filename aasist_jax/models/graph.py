"""Graph attention, heterogeneous graph attention with a master node, and graph pooling (AASIST, section 3)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aasist_jax.models.layers import BatchNorm, Linear


def xavier_normal(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
    """PyTorch's Xavier-normal initialisation for a matrix."""
    return jax.random.normal(key, shape, dtype) * (2 / (shape[0] + shape[1])) ** 0.5


def pair_products(x: Float[Array, "batch n d"]) -> Float[Array, "batch n n d"]:
    """Element-wise product of every pair of nodes."""
    return x[:, :, None] * x[:, None, :]


class GraphAttention(nn.Module):
    """Graph attention layer over one kind of node, fully connected.

    The attention of node i to node j is softmax over j of w . tanh(Linear(x_i * x_j)) / temperature.
    """

    features: int
    temperature: float
    dropout: float
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"], *, train: bool) -> Float[Array, "batch n d"]:
        """Update the nodes: (batch, n, inputs) -> (batch, n, features)."""
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        weight = self.param("att_weight", xavier_normal, (self.features, 1)).astype(self.dtype)
        pairs = jnp.tanh(Linear(self.features, self.dtype, name="att_proj")(pair_products(x)))
        attention = jax.nn.softmax((pairs @ weight).squeeze(-1) / self.temperature, axis=-1)
        self.sow("explanation", "attention", attention)
        y = Linear(self.features, self.dtype, name="proj_with_att")(attention @ x)
        y += Linear(self.features, self.dtype, name="proj_without_att")(x)
        return BatchNorm(self.dtype, self.axis_name, activate=True, name="bn")(y, train=train)


class HeterogeneousGraphAttention(nn.Module):
    """Graph attention over two kinds of nodes and a master node that gathers from both.

    Pairs within the first kind, within the second and across have their own attention vectors (`att_weight11`,
    `att_weight22`, `att_weight12`). The master node attends over the nodes as they enter the attention, not over
    the updated ones, and has neither batch norm nor activation.
    """

    features: int
    temperature: float
    dropout: float
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        x1: Float[Array, "batch n1 c"],
        x2: Float[Array, "batch n2 c"],
        master: Float[Array, "batch 1 c"],
        *,
        train: bool,
    ) -> tuple[Float[Array, "batch n1 d"], Float[Array, "batch n2 d"], Float[Array, "batch 1 d"]]:
        """Update both kinds of nodes and the master node."""
        n1, inputs = x1.shape[1:]
        x1 = Linear(inputs, self.dtype, name="proj_type1")(x1)
        x2 = Linear(inputs, self.dtype, name="proj_type2")(x2)
        x = jnp.concatenate([x1, x2], axis=1)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)

        attention = self._node_attention(x, n1)
        self.sow("explanation", "attention", attention)
        master = self._update_master(x, master)
        y = self._linear("proj_with_att")(attention @ x) + self._linear("proj_without_att")(x)
        y = BatchNorm(self.dtype, self.axis_name, activate=True, name="bn")(y, train=train)
        return y[:, :n1], y[:, n1:], master

    def _node_attention(self, x: Float[Array, "batch n c"], n1: int) -> Float[Array, "batch n n"]:
        pairs = jnp.tanh(self._linear("att_proj")(pair_products(x)))
        w11, w12, w22 = (self._vector(f"att_weight{kind}") for kind in ("11", "12", "22"))
        first = jnp.concatenate([pairs[:, :n1, :n1] @ w11, pairs[:, :n1, n1:] @ w12], axis=2)
        second = jnp.concatenate([pairs[:, n1:, :n1] @ w12, pairs[:, n1:, n1:] @ w22], axis=2)
        board = jnp.concatenate([first, second], axis=1).squeeze(-1)
        return jax.nn.softmax(board / self.temperature, axis=-1)

    def _update_master(
        self, x: Float[Array, "batch n c"], master: Float[Array, "batch 1 c"]
    ) -> Float[Array, "batch 1 d"]:
        pairs = jnp.tanh(self._linear("att_projM")(x * master))
        scores = (pairs @ self._vector("att_weightM")).squeeze(-1) / self.temperature
        attention = jax.nn.softmax(scores, axis=-1)[:, None]
        self.sow("explanation", "master_attention", attention)
        return self._linear("proj_with_attM")(attention @ x) + self._linear("proj_without_attM")(master)

    def _linear(self, name: str) -> Linear:
        return Linear(self.features, self.dtype, name=name)

    def _vector(self, name: str) -> Float[Array, "d 1"]:
        return self.param(name, xavier_normal, (self.features, 1)).astype(self.dtype)


class GraphPool(nn.Module):
    """Keep the highest-scoring share of the nodes, each gated by its score, in descending order of score.

    The order matters downstream, where nodes of two branches are paired by position. Dropout bears on the scores
    alone.
    """

    ratio: float
    dropout: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"], *, train: bool) -> Float[Array, "batch kept c"]:
        """Pool nodes: kept = max(int(n * ratio), 1)."""
        dropped = nn.Dropout(self.dropout, deterministic=not train)(x)
        scores = nn.sigmoid(Linear(1, self.dtype, name="proj")(dropped))
        kept = max(int(x.shape[1] * self.ratio), 1)
        gates, order = jax.lax.top_k(scores.squeeze(-1), kept)
        self.sow("explanation", "gates", gates)
        self.sow("explanation", "order", order)
        return jnp.take_along_axis(x * scores, order[..., None], axis=1)
