"""The configuration of the family SSL: an encoder, a head, and what lies between them."""

import functools
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from aasist_jax.models.ssl.encoders import EncoderConfig, encoder_kinds, kind_of
from aasist_jax.models.ssl.heads import HeadConfig, head_kinds
from aasist_jax.models.ssl.heads.mean_std import MeanStdConfig
from aasist_jax.models.ssl.resynthesis import ResynthesisConfig, resynthesis_kinds

if TYPE_CHECKING:
    AnyEncoder = EncoderConfig
    AnyHead = HeadConfig
    AnyResynthesis = ResynthesisConfig
else:
    # One of the types that the folders hold: a section of several types is a union of them.
    AnyEncoder = functools.reduce(operator.or_, (kind.config_type for kind in encoder_kinds().values()))
    AnyHead = functools.reduce(operator.or_, (kind.config_type for kind in head_kinds().values()))
    AnyResynthesis = functools.reduce(operator.or_, (kind.config_type for kind in resynthesis_kinds().values()))

Blocks = Annotated[int, Meta(ge=0, le=1000)]


@dataclass(frozen=True)
class SSLConfig:
    """A pretrained encoder and a head on its hidden states.

    Attributes:
        encoder: the kind of the encoder, and its sizes where they are not the published ones.
        head: the kind of the head, and its sizes.
        nb_samp: samples per window at 16 kHz.
        layers: the hidden states that the head takes, counted from 0, which is the sum with the positions, and from -1,
            which is the last; empty for all.
        freeze: what of the encoder is not trained: `encoder`, all of it; a number, everything before its blocks and
            that many of them; or `nothing`. What is frozen is computed as in evaluation: its batch statistics do not
            follow the data.
        resynthesis: the vocoder that makes a copy of every recording. The head then takes the hidden states of the
            recording, joined with how they differ from those of the copy: features of twice the encoder's width. None:
            there is no copy.
    """

    encoder: AnyEncoder
    head: AnyHead = field(default_factory=MeanStdConfig)
    nb_samp: int = 64_600
    layers: tuple[int, ...] = ()
    freeze: Literal["encoder", "nothing"] | Blocks = "encoder"
    resynthesis: AnyResynthesis | None = None

    def __post_init__(self) -> None:
        """Check the ranges, which depend on the encoder."""
        states, encoder = self.encoder.hidden_states, self.encoder
        if not encoder.shortest <= self.nb_samp <= encoder.longest:
            raise ValueError(f"nb_samp: expected {encoder.shortest} to {encoder.longest}, got {self.nb_samp}")
        for number, layer in enumerate(self.layers):
            if not -states <= layer < states:
                raise ValueError(f"layers[{number}]: expected {-states} to {states - 1}, got {layer}")
        if len({layer % states for layer in self.layers}) < len(self.layers):
            raise ValueError(f"layers: expected each hidden state once, got {list(self.layers)}")
        if isinstance(self.freeze, int) and self.freeze >= states:
            raise ValueError(f"freeze: expected at most {states - 1} blocks, or the word encoder, got {self.freeze}")

    @property
    def chosen(self) -> tuple[int, ...]:
        """The hidden states that the head takes, counted from 0."""
        states = self.encoder.hidden_states
        return tuple(layer % states for layer in self.layers) or tuple(range(states))

    @property
    def frozen_states(self) -> int:
        """How many hidden states, from the first, do not change in training."""
        if self.freeze == "nothing":
            return 0
        return self.encoder.hidden_states if self.freeze == "encoder" else self.freeze + 1

    def trains(self, path: str) -> bool:
        """Whether the parameter at a path of the network is trained."""
        part, _, rest = path.partition("/")
        if part != "encoder":
            return True
        block = kind_of(self.encoder).block(rest)
        return block is not None and block % self.encoder.hidden_states >= self.frozen_states
