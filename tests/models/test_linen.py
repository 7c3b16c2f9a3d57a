"""Modules as networks of the contract: what a module of another form is told."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from aasist_jax.models.linen import LinenNetwork


class Plain(nn.Module):
    """A module that knows nothing of `Outputs`."""

    @nn.compact
    def __call__(self, waves: Any, lengths: Any = None, train: bool = False) -> Any:
        return nn.Dense(2)(waves)


@pytest.mark.parametrize("train", [False, True])
def test_a_module_without_outputs_is_told_what_to_return(train: bool) -> None:
    network = LinenNetwork(Plain(), samples=8)
    params, state = network.init(jax.random.key(0))
    with pytest.raises(TypeError, match=r"Plain returned .*; the module of a family returns Outputs\(logits="):
        network.apply(params, state, jnp.zeros((3, 8)), train=train)
