"""The interface of a pretrained encoder, and the registry of the kinds that there are.

A kind is a package in the folder of this file, and is found by lying there. Its `__init__.py` sets `KIND`, without
importing JAX: a network is imported by the function that builds it. How files of weights are read is told in
`aasist_jax.encoders`, which knows of files what this folder does not.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from aasist_jax.errors import ConfigError
from aasist_jax.models.family import CheckpointNames

if TYPE_CHECKING:
    import flax.linen as nn


class EncoderConfig(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The sizes of an encoder: a section of a configuration whose key `kind` names the kind.

    A kind derives its own, with `tag="its name"`, a default for every field, and the properties below. It has
    `__post_init__` raise a `ValueError` of one line, such as `heads: expected a divisor of d_model, got 3`.
    """

    @property
    def width(self) -> int:
        """Features of every hidden state."""
        raise NotImplementedError

    @property
    def hidden_states(self) -> int:
        """Number of hidden states: the sum with the positions, the output of every block, the last norm if any."""
        raise NotImplementedError

    @property
    def shortest(self) -> int:
        """The fewest samples at 16 kHz that give one step."""
        raise NotImplementedError

    @property
    def longest(self) -> int:
        """The most samples at 16 kHz that the encoder takes."""
        raise NotImplementedError

    def steps(self, samples: Any) -> Any:
        """Count the steps that `samples` give. Takes a number or an integer array, such as the lengths of a batch."""
        raise NotImplementedError


@dataclass(frozen=True)
class EncoderKind:
    """A kind of pretrained encoder.

    The module that `build` makes is called as `module(waves, lengths=None, train=False, frozen=0)`:

    - `waves`: (batch, samples) at 16 kHz, full scale 1, from `shortest` to `longest` samples, in float32 or, for exact
      comparisons, float64. What is computed in float32 at least whatever `dtype` says (such as a spectrum) is computed
      in the wider of the two.
    - `lengths`: None, or int (batch,), the valid samples of each wave, the rest being zeros. With `any_length`, the
      first `config.steps(lengths)` steps then equal those of the wave by itself, and the others mean nothing.
    - `train`: whether dropout and batch statistics are those of training.
    - `frozen`: that many hidden states, from the first, are computed as in evaluation and get no gradient.

    It returns a tuple of `config.hidden_states` arrays (batch, steps, width).

    Attributes:
        config_type: the `EncoderConfig` of the kind; its tag is the kind's name.
        build: makes the module: `build(config, dtype=..., axis_name=...)`. It computes in `dtype`; the statistics of
            batch norms are those of all devices of `axis_name`.
        names: what the authors' checkpoint calls the variables of the module.
        block: the first hidden state that the parameter at a path, such as `layers_0/linear1/kernel`, takes part in, as
            an index of the tuple, so that -1 is the last; None for a parameter that is never trained, such as a table
            of positions.
        state: the collections that training changes, such as `batch_stats`.
        any_length: whether `lengths` is heeded. Otherwise clips that are shorter than a window are repeated.
    """

    config_type: type[EncoderConfig]
    build: Callable[..., "nn.Module"]
    names: CheckpointNames
    block: Callable[[str], int | None]
    state: tuple[str, ...] = ()
    any_length: bool = False

    @property
    def name(self) -> str:
        """The key `kind` of its configuration."""
        return str(self.config_type.__struct_config__.tag)


@functools.cache
def encoder_kinds() -> dict[str, EncoderKind]:
    """The kinds by name, sorted.

    Raises:
        ConfigError: a folder beside this file sets no `KIND`.
    """
    kinds: dict[str, EncoderKind] = {}
    for folder in (module.name for module in pkgutil.iter_modules(__path__) if module.ispkg):
        kind = getattr(importlib.import_module(f"{__name__}.{folder}"), "KIND", None)
        if not isinstance(kind, EncoderKind):
            raise ConfigError(f"{__name__}.{folder}: sets no KIND = EncoderKind(...), as every folder there does")
        kinds[kind.name] = kind
    return dict(sorted(kinds.items()))


def kind_of(config: EncoderConfig) -> EncoderKind:
    """The kind that a configuration is of."""
    return encoder_kinds()[str(config.__struct_config__.tag)]
