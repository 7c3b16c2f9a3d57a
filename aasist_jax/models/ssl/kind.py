"""What an encoder's kind and a head's have in common. No JAX."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import flax.linen as nn


@dataclass(frozen=True)
class Kind:
    """What a section of a configuration whose key is `kind` can be of.

    Attributes:
        config_type: the type of the section; its tag is the kind's name.
        build: makes the module: `build(config, dtype=..., axis_name=...)`. It computes in `dtype`; the statistics of
            batch norms are those of all devices of `axis_name`.
        state: the collections that training changes, such as `batch_stats`.
    """

    config_type: type[msgspec.Struct]
    build: Callable[..., "nn.Module"]
    state: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def name(self) -> str:
        """The key `kind` of its configuration."""
        return name_of(self.config_type)


def name_of(config: msgspec.Struct | type[msgspec.Struct]) -> str:
    """The name of the kind that a section, or its type, is of."""
    return str(config.__struct_config__.tag)
