"""Stochastic weight averaging (SWA, Izmailov et al., 2018): averages of parameters, and the state for them."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from flax import struct

from aasist_jax.models.network import Network, RandomKeys
from aasist_jax.models.variables import ModelState, Variables, split_variables
from aasist_jax.training.step import Batch


class Average(struct.PyTreeNode):
    """The mean of the parameters added so far."""

    count: Any
    params: Any


def empty_average(params: Any) -> Average:
    """Make an empty average for trees with the structure of `params`."""
    return Average(np.zeros((), np.int32), jax.tree.map(lambda x: np.zeros_like(np.asarray(x)), params))


def add_to_average(average: Average, params: Any) -> Average:
    """Add parameters to the average; all parameters in it have the same weight."""
    count = average.count + 1
    mean = jax.tree.map(lambda m, p: (m + (p - m) / count).astype(m.dtype), average.params, params)
    return Average(np.asarray(count, np.int32), mean)


def make_state_step(
    network: Network, start: Callable[[ModelState], ModelState], *, seed: int, axis_name: str | None
) -> Callable[[Variables, Batch], ModelState]:
    """Make `step(variables, batch)`, which runs one batch in training mode from `start` and returns the new state.

    `batch` has `wave` (batch, samples), `step` (batch,), which determines the random numbers, and optionally `length`.
    Dropout is on, as in the published procedure. Build the network without other augmentation.
    """

    def step(variables: Variables, batch: Batch) -> ModelState:
        params, model_state = split_variables(variables)
        key = jax.random.fold_in(jax.random.key(seed), batch["step"][0])
        device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
        rng = RandomKeys(jax.random.fold_in(key, device), key)
        _, state = network.apply(params, start(model_state), batch["wave"], batch.get("length"), True, rng)
        return state

    return step


def estimate_state(model_state: ModelState, each: Iterable[ModelState], finish: Callable[[Any, Any, int], Any]) -> Any:
    """Combine the states after single batches into one state, with equal weight for every batch.

    Args:
        model_state: the state that is replaced; it also determines the types.
        each: the states that the function from `make_state_step` returns.
        finish: see `StateEstimate`.
    """
    total, batches = None, 0
    for update in each:
        wide = jax.tree.map(lambda x: np.asarray(x, np.float64), update)
        total = wide if total is None else jax.tree.map(np.add, total, wide)
        batches += 1
    if total is None:
        raise ValueError("no batch to estimate the state from")
    return jax.tree.map(lambda target, value: finish(target, value / batches, batches), model_state, total)
