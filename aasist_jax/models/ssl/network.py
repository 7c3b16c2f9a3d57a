"""The network of the family SSL: the hidden states of an encoder, judged by a head.

With a resynthesis, the encoder is given each recording and its copy, and the head how the two differ as well.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from aasist_jax.models.network import Outputs
from aasist_jax.models.ssl.config import SSLConfig
from aasist_jax.models.ssl.encoders import kind_of
from aasist_jax.models.ssl.heads import head_of
from aasist_jax.models.ssl.resynthesis import resynthesis_of
from aasist_jax.models.ssl.steps import HiddenStates, Lengths, Steps, Waves, before


class SSL(nn.Module):
    """An encoder and a head, as configured."""

    config: SSLConfig
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        """Create the two, and the vocoder if there is one."""
        config = self.config
        self.encoder = kind_of(config.encoder).build(config.encoder, dtype=self.dtype, axis_name=self.axis_name)
        self.head = head_of(config.head).build(config.head, dtype=self.dtype, axis_name=self.axis_name)
        vocoder = config.resynthesis
        self.resynthesise = None if vocoder is None else resynthesis_of(vocoder).build(vocoder)

    def __call__(self, waves: Waves, lengths: Lengths = None, train: bool = False) -> Outputs:
        """Give logits (batch, 2), index 1 bona fide."""
        states = self._hidden_states(waves, lengths, train)
        steps = states[0].shape[1]
        counts = jnp.full((waves.shape[0],), steps) if lengths is None else self.config.encoder.steps(lengths)
        chosen = tuple(states[i] for i in self.config.chosen)
        outputs: Outputs = self.head(chosen, before(counts, steps), train=train)
        return outputs

    def _hidden_states(self, waves: Waves, lengths: Lengths, train: bool) -> HiddenStates:
        encode = partial(self.encoder, train=train, frozen=self.config.frozen_states)
        if self.resynthesise is None:
            return encode(waves, lengths)
        # One batch of both, so that the encoder is compiled once.
        both = jnp.concatenate([waves, self.resynthesise(waves, lengths)])
        states = encode(both, None if lengths is None else jnp.concatenate([lengths, lengths]))
        return tuple(_with_difference(*jnp.split(state, 2)) for state in states)


def _with_difference(of_recording: Steps, of_copy: Steps) -> Steps:
    """What the head is given of a hidden state, instead of that of the recording alone."""
    return jnp.concatenate([of_recording, of_recording - of_copy], axis=2)
