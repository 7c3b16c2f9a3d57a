"""The interface of a head, which turns the hidden states of an encoder into two logits, and the registry of heads.

A head is a file in this folder, found by lying there. It sets `HEAD`, and imports JAX only in the function that builds
its module.
"""

import functools
from dataclasses import dataclass

import msgspec

from aasist_jax.errors import ConfigError
from aasist_jax.models.ssl.kind import Kind, name_of
from aasist_jax.runtime.members import by_name, find_members


class HeadConfig(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The sizes of a head: a section of a configuration whose key `kind` names the head.

    A head derives its own, with `tag="its name"` and a default for every field.
    """


@dataclass(frozen=True)
class HeadKind(Kind):
    """A kind of head; its `config_type` is a `HeadConfig`.

    The module that `build` makes is called as `module(states, valid, train=False)`, with the chosen hidden states, a
    tuple of (batch, steps, width), and which steps are no padding, bool (batch, steps). It returns `Outputs`, whose
    logits are (batch, 2), index 1 bona fide.
    """


@functools.cache
def head_kinds() -> dict[str, HeadKind]:
    """The heads by name, sorted.

    Raises:
        ConfigError: a file beside this one sets no `HEAD`, or two of them have the same name.
    """
    return by_name(find_members(__name__, "HEAD", HeadKind, ConfigError), ConfigError)


def head_of(config: HeadConfig) -> HeadKind:
    """The head that a configuration is of."""
    return head_kinds()[name_of(config)]
