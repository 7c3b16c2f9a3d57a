"""The network of the family SSL: the hidden states of an encoder, judged by a head.

With a resynthesis, the encoder is given each recording and its copy, and the head how the two differ as well.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from aasist_jax.models.network import Outputs
from aasist_jax.models.ssl.config import SSLConfig
from aasist_jax.models.ssl.encoders import kind_of
from aasist_jax.models.ssl.heads import head_of
from aasist_jax.models.ssl.resynthesis import resynthesis_of
from aasist_jax.models.ssl.steps import HiddenStates, Lengths, Steps, Valid, Waves, before

Features = Float[Array, "batch layers ..."]
Rows = Float[Array, "batch numbers"]


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
        outputs: Outputs = self.head(*self._heard(waves, lengths, train), train=train)
        return outputs

    def features(self, waves: Waves, lengths: Lengths = None) -> Features:
        """Give what the head takes of the waves, in evaluation mode; see `HeadKind.reduce`."""
        return self._heard(waves, lengths, train=False)[0]

    def _heard(self, waves: Waves, lengths: Lengths, train: bool) -> tuple[Features, Valid]:
        """What the head takes of the waves, and which of their steps are valid."""
        config = self.config
        states = self._hidden_states(waves, lengths, train)
        valid = _valid(config, waves.shape[0], states[0].shape[1], lengths)
        return head_of(config.head).reduce(tuple(states[i] for i in config.chosen), valid), valid

    def _hidden_states(self, waves: Waves, lengths: Lengths, train: bool) -> HiddenStates:
        encode = partial(self.encoder, train=train, frozen=self.config.frozen_states)
        if self.resynthesise is None:
            return encode(waves, lengths)
        # One batch of both, so that the encoder is compiled once.
        both = jnp.concatenate([waves, self.resynthesise(waves, lengths)])
        states = encode(both, None if lengths is None else jnp.concatenate([lengths, lengths]))
        return tuple(_with_difference(*jnp.split(state, 2)) for state in states)


class HeadOnFeatures(nn.Module):
    """The head alone, on rows of features that have been computed before.

    Attributes:
        shape: of the features of a clip, which a row holds one after the other.
    """

    config: SSLConfig
    shape: tuple[int, ...]
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        """Create the head, under the name that it has in the whole network."""
        config = self.config
        self.head = head_of(config.head).build(config.head, dtype=self.dtype, axis_name=self.axis_name)

    def __call__(self, rows: Rows, lengths: Lengths = None, train: bool = False) -> Outputs:
        """Give the logits of clips that had so many valid samples."""
        valid = _valid(self.config, rows.shape[0], self.config.encoder.steps(self.config.nb_samp), lengths)
        outputs: Outputs = self.head(rows.reshape(rows.shape[0], *self.shape), valid, train=train)
        return outputs


def _valid(config: SSLConfig, batch: Any, steps: int, lengths: Lengths) -> Valid:
    counts = jnp.full((batch,), steps) if lengths is None else config.encoder.steps(lengths)
    return before(counts, steps)


def _with_difference(of_recording: Steps, of_copy: Steps) -> Float[Array, "batch steps 2*width"]:
    """What the head is given of a hidden state, instead of that of the recording alone."""
    return jnp.concatenate([of_recording, of_recording - of_copy], axis=2)
