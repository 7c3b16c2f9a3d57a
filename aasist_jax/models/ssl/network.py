"""The network of the family SSL: the hidden states of an encoder, judged by a head."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.models.network import Outputs
from aasist_jax.models.ssl.config import SSLConfig
from aasist_jax.models.ssl.encoders import kind_of
from aasist_jax.models.ssl.heads import head_of


class SSL(nn.Module):
    """An encoder and a head, as configured."""

    config: SSLConfig
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        """Create the two."""
        config = self.config
        self.encoder = kind_of(config.encoder).build(config.encoder, dtype=self.dtype, axis_name=self.axis_name)
        self.head = head_of(config.head).build(config.head, dtype=self.dtype, axis_name=self.axis_name)

    def __call__(
        self, waves: Float[Array, "batch samples"], lengths: Int[Array, " batch"] | None = None, train: bool = False
    ) -> Outputs:
        """Give logits (batch, 2), index 1 bona fide."""
        encoder = self.config.encoder
        states = self.encoder(waves, lengths, train=train, frozen=self.config.frozen_states)
        steps = states[0].shape[1]
        counts = jnp.full((waves.shape[0],), steps) if lengths is None else encoder.steps(lengths)
        valid = jnp.arange(steps)[None] < counts[:, None]
        outputs: Outputs = self.head(tuple(states[i] for i in self.config.chosen), valid, train=train)
        return outputs
