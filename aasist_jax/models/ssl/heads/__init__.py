"""The interface of a head, which turns the hidden states of an encoder into two logits, and the registry of heads.

A head is a file in this folder, found by lying there. It sets `HEAD`, and imports JAX only in the function that builds
its module.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from aasist_jax.errors import ConfigError

if TYPE_CHECKING:
    import flax.linen as nn


class HeadConfig(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The sizes of a head: a section of a configuration whose key `kind` names the head.

    A head derives its own, with `tag="its name"` and a default for every field.
    """


@dataclass(frozen=True)
class HeadKind:
    """A kind of head.

    The module that `build` makes is called as `module(states, valid, train=False)`, with the chosen hidden states, a
    tuple of (batch, steps, width), and which steps are no padding, bool (batch, steps). It returns `Outputs`, whose
    logits are (batch, 2), index 1 bona fide.

    Attributes:
        config_type: the `HeadConfig` of the kind; its tag is the kind's name.
        build: makes the module: `build(config, dtype=..., axis_name=...)`.
        state: the collections that training changes, such as `batch_stats`.
    """

    config_type: type[HeadConfig]
    build: Callable[..., "nn.Module"]
    state: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The key `kind` of its configuration."""
        return str(self.config_type.__struct_config__.tag)


@functools.cache
def head_kinds() -> dict[str, HeadKind]:
    """The heads by name, sorted.

    Raises:
        ConfigError: a file beside this one sets no `HEAD`.
    """
    heads: dict[str, HeadKind] = {}
    for name in (module.name for module in pkgutil.iter_modules(__path__)):
        head = getattr(importlib.import_module(f"{__name__}.{name}"), "HEAD", None)
        if not isinstance(head, HeadKind):
            raise ConfigError(f"{__name__}.{name}: sets no HEAD = HeadKind(...), as every file there does")
        heads[head.name] = head
    return dict(sorted(heads.items()))


def head_of(config: HeadConfig) -> HeadKind:
    """The head that a configuration is of."""
    return head_kinds()[str(config.__struct_config__.tag)]
