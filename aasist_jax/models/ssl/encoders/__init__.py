"""The interface of a pretrained encoder, and the registry of the kinds that there are.

A kind is a package in the folder of this file, and is found by lying there. Its `__init__.py` sets `KIND`, without
importing JAX: a network is imported by the function that builds it. How files of weights are read is told in
`aasist_jax.encoders`, which knows of files what this folder does not.
"""

import functools
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from aasist_jax.errors import ConfigError
from aasist_jax.models.family import CheckpointNames
from aasist_jax.models.ssl.kind import Kind, name_of
from aasist_jax.runtime.abstract_struct import AbstractStruct
from aasist_jax.runtime.members import by_name, find_members


class EncoderConfig(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", metaclass=AbstractStruct):
    """The sizes of an encoder: a section of a configuration whose key `kind` names the kind.

    A kind derives its own, with `tag="its name"`, a default for every field, and the properties below. It has
    `__post_init__` raise a `ValueError` of one line, such as `heads: expected a divisor of d_model, got 3`.
    """

    @property
    @abstractmethod
    def width(self) -> int:
        """Features of every hidden state."""

    @property
    @abstractmethod
    def hidden_states(self) -> int:
        """Number of hidden states: the sum with the positions, the output of every block, the last norm if any."""

    @property
    @abstractmethod
    def shortest(self) -> int:
        """The fewest samples at 16 kHz that give one step."""

    @property
    @abstractmethod
    def longest(self) -> int:
        """The most samples at 16 kHz that the encoder takes."""

    @abstractmethod
    def steps(self, samples: Any) -> Any:
        """Count the steps that `samples` give. Takes a number or an integer array, such as the lengths of a batch."""


@dataclass(frozen=True)
class EncoderKind(Kind):
    """A kind of pretrained encoder.

    The module that `build` makes is called as `module(waves, lengths=None, train=False, frozen=0)`:

    - `waves`: (batch, samples) at 16 kHz, full scale 1, from `shortest` to `longest` samples, in float32 or, for exact
      comparisons, float64. What is computed in float32 at least whatever `dtype` says (such as a spectrum) is computed
      in the wider of the two.
    - `lengths`: None, or int (batch,), the valid samples of each wave, the rest being zeros. With `any_length`, the
      first `config.steps(lengths)` steps then equal those of the wave by itself, and the others mean nothing. In
      training, this holds for what is frozen: statistics of a batch may be taken over the other steps too.
    - `train`: whether dropout and batch statistics are those of training.
    - `frozen`: that many hidden states, from the first, are computed as in evaluation and get no gradient.

    It returns a tuple of `config.hidden_states` arrays (batch, steps, width).

    Attributes:
        config_type: the `EncoderConfig` of the kind; its tag is the kind's name.
        build, state: see `Kind`.
        names: what the authors' checkpoint calls the variables of the module.
        block: the first hidden state that the parameter at a path, such as `layers_0/linear1/kernel`, takes part in, as
            an index of the tuple, so that -1 is the last; None for a parameter that is never trained, such as a table
            of positions.
        any_length: whether `lengths` is heeded. Otherwise clips that are shorter than a window are repeated.
    """

    names: CheckpointNames
    block: Callable[[str], int | None]
    any_length: bool = False


@functools.cache
def encoder_kinds() -> dict[str, EncoderKind]:
    """The kinds by name, sorted.

    Raises:
        ConfigError: a folder beside this file sets no `KIND`, or two of them have the same name.
    """
    return by_name(find_members(__name__, "KIND", EncoderKind, ConfigError, packages_only=True), ConfigError)


def kind_of(config: EncoderConfig) -> EncoderKind:
    """The kind that a configuration is of."""
    return encoder_kinds()[name_of(config)]
