"""The network of the family SSL: the hidden states of an encoder, judged by a head."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from aasist_jax.models.network import Outputs
from aasist_jax.models.ssl.config import SSLConfig
from aasist_jax.models.ssl.encoders import kind_of
from aasist_jax.models.ssl.heads import head_of
from aasist_jax.models.ssl.steps import Lengths, Waves, before


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

    def __call__(self, waves: Waves, lengths: Lengths = None, train: bool = False) -> Outputs:
        """Give logits (batch, 2), index 1 bona fide."""
        encoder = self.config.encoder
        states = self.encoder(waves, lengths, train=train, frozen=self.config.frozen_states)
        steps = states[0].shape[1]
        counts = jnp.full((waves.shape[0],), steps) if lengths is None else encoder.steps(lengths)
        chosen = tuple(states[i] for i in self.config.chosen)
        outputs: Outputs = self.head(chosen, before(counts, steps), train=train)
        return outputs
