"""The interface of a head, which turns the hidden states of an encoder into two logits, and the registry of heads.

A head is a file in this folder, found by lying there. It sets `HEAD`, and imports JAX only in the function that builds
its module.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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

    The module that `build` makes is called as `module(features, valid, train=False)`, with what `reduce` makes of the
    chosen hidden states and which steps are no padding, bool (batch, steps). It returns `Outputs`, whose logits are
    (batch, 2), index 1 bona fide.

    Attributes:
        reduce: what the head needs of the hidden states, without any parameter: from a tuple of (batch, steps, width)
            and `valid` to (batch, layers, ...). It is what is stored of a clip where the encoder is frozen.
        stored_as: the type in which it is stored: `float16`, or `float32` for what is small and must be exact.
    """

    reduce: Callable[[Any, Any], Any] = field(kw_only=True)
    stored_as: str = field(default="float16", kw_only=True)


def all_steps(states: Any, valid: Any) -> Any:
    """The hidden states as they are: (batch, layers, steps, width)."""
    import jax.numpy as jnp

    return jnp.stack(states, axis=1)


def statistics(states: Any, valid: Any) -> Any:
    """Mean and deviation of each layer over its valid steps: (batch, layers, 2 * width), float32 or wider."""
    import jax.numpy as jnp

    from aasist_jax.models.ssl.pooling import mean_and_deviation

    return jnp.stack([mean_and_deviation(state, valid) for state in states], axis=1)


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
