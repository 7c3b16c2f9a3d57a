"""The modules of the heads: from what they keep of the hidden states of an encoder to two logits."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from aasist_jax.models.layers import BatchNorm, Linear
from aasist_jax.models.network import Outputs
from aasist_jax.models.ssl.steps import Steps, Valid

Statistics = Float[Array, "batch layers statistics"]
LayersOfSteps = Float[Array, "batch layers steps width"]

FAINTEST_VARIANCE = 1e-10
"""Keeps the derivative of the standard deviation finite where a feature does not change."""


def mean_and_deviation(x: Steps, valid: Valid) -> Float[Array, "batch statistics"]:
    """Mean and (biased) standard deviation over the valid steps: (batch, 2 * width), in float32 or wider."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    weights = (valid / valid.sum(axis=1, keepdims=True))[..., None].astype(x.dtype)
    mean = (x * weights).sum(axis=1)
    variance = (jnp.square(x - mean[:, None]) * weights).sum(axis=1)
    return jnp.concatenate([mean, jnp.sqrt(variance + FAINTEST_VARIANCE)], axis=1)


class StatisticsHead(nn.Module):
    """A batch norm that brings the statistics of every layer to one scale, and one linear map to two logits.

    Attributes:
        hidden: features of a hidden layer between, with GELU and dropout; 0 for none.
        dropout: share of them that a training step leaves out.
    """

    hidden: int = 0
    dropout: float = 0.0
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, features: Statistics, valid: Valid, train: bool = False) -> Outputs:
        """Give two logits; the embedding is the hidden layer, or the normalised statistics, layer by layer."""
        exact = jnp.promote_types(self.dtype, jnp.float32)
        x = features.reshape(features.shape[0], -1)
        x = BatchNorm(exact, self.axis_name, name="norm")(x, train=train)
        if self.hidden:
            x = nn.gelu(Linear(self.hidden, self.dtype, name="hidden")(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Outputs(Linear(2, self.dtype, name="linear")(x).astype(exact), x)


class FactorisedAttentivePooling(nn.Module):
    """Multi-head factorised attentive pooling (Peng et al., 2022, arXiv:2210.01273).

    Keys and values are two weighted sums over the layers, each reduced to `compression` features. Every head weights
    the steps by a linear map of the keys, and pools the values by these weights.
    """

    heads: int
    compression: int
    embedding: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, features: LayersOfSteps, valid: Valid, train: bool = False) -> Outputs:
        """Give two logits and the embedding that they are a linear map of."""
        keys, values = self._sum_over_layers("key", features), self._sum_over_layers("value", features)
        exact = jnp.promote_types(self.dtype, jnp.float32)
        scores = Linear(self.heads, self.dtype, name="attention")(keys).astype(exact)
        attention = nn.softmax(jnp.where(valid[..., None], scores, -jnp.inf), axis=1).astype(self.dtype)
        pooled = jnp.einsum("bsh,bsc->bhc", attention, values).reshape(keys.shape[0], self.heads * self.compression)
        embedding = Linear(self.embedding, self.dtype, name="embed")(pooled)
        return Outputs(Linear(2, self.dtype, name="linear")(embedding).astype(exact), embedding)

    def _sum_over_layers(self, name: str, features: LayersOfSteps) -> Float[Array, "batch steps compression"]:
        weights = nn.softmax(self.param(f"{name}_layers", nn.initializers.zeros, (features.shape[1],)))
        mixed = jnp.einsum("l,blsw->bsw", weights.astype(self.dtype), features.astype(self.dtype))
        return Linear(self.compression, self.dtype, name=name)(mixed)
