"""The interface of a resynthesis, which makes a copy of a recording by a vocoder, and the registry of its kinds.

A head that is given the hidden states of a recording and how they differ from those of its copy sees less of the voice
and of the channel, which both have, and more of what a vocoder changes.

A kind is a package in the folder of this file, and is found by lying there. Its `__init__.py` sets `RESYNTHESIS`, and
imports JAX only in the function that makes the vocoder.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from aasist_jax.errors import ConfigError
from aasist_jax.models.ssl.kind import name_of
from aasist_jax.runtime.members import by_name, find_members

if TYPE_CHECKING:
    from aasist_jax.models.ssl.steps import Lengths, Waves

    Resynthesise = Callable[[Waves, Lengths], Waves]
else:
    Resynthesise = Callable[..., Any]


class ResynthesisConfig(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The settings of a vocoder: a section of a configuration whose key `kind` names it.

    A kind derives its own, with `tag="its name"` and a default for every field.
    """


@dataclass(frozen=True)
class ResynthesisKind:
    """A kind of resynthesis.

    The function that `build` makes is called as `resynthesise(waves, lengths)`, with waves (batch, samples) at 16 kHz,
    full scale 1, in float32 or float64, of any length, and their valid samples, int (batch,), or None. It returns
    copies of the same shape and type. The copy of a wave does not depend on the others of the batch, nor on what is
    behind its valid samples, where the copy is zeros. The same wave always gives the same copy.

    Attributes:
        config_type: the `ResynthesisConfig` of the kind; its tag is the kind's name.
        build: makes the function: `build(config)`.
        on_host: what is run by Python on the host, such as a package, so that no program can be exported; '' for none.
    """

    config_type: type[ResynthesisConfig]
    build: Callable[[Any], Resynthesise]
    on_host: str = ""

    @property
    def name(self) -> str:
        """The key `kind` of its configuration."""
        return name_of(self.config_type)


@functools.cache
def resynthesis_kinds() -> dict[str, ResynthesisKind]:
    """The kinds by name, sorted.

    Raises:
        ConfigError: a folder beside this file sets no `RESYNTHESIS`, or two of them have the same name.
    """
    members = find_members(__name__, "RESYNTHESIS", ResynthesisKind, ConfigError, packages_only=True)
    return by_name(members, ConfigError)


def resynthesis_of(config: ResynthesisConfig) -> ResynthesisKind:
    """The kind that a configuration is of."""
    return resynthesis_kinds()[name_of(config)]
