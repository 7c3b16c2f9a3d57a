"""Equal-weight averages of parameters, and the network's state that goes with them (SWA, Izmailov et al. 2018)."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from flax import struct

from aasist_jax.models.family import ModelState, Network, RandomKeys, Variables, split_variables
from aasist_jax.training.step import Batch


class Average(struct.PyTreeNode):
    """The mean of the parameters added so far."""

    count: Any
    params: Any


def empty_average(params: Any) -> Average:
    """Start an average of trees like `params`."""
    return Average(np.zeros((), np.int32), jax.tree.map(lambda x: np.zeros_like(np.asarray(x)), params))


def add_to_average(average: Average, params: Any) -> Average:
    """Take another snapshot into the mean, with the weight of each one before."""
    count = average.count + 1
    mean = jax.tree.map(lambda m, p: (m + (p - m) / count).astype(m.dtype), average.params, params)
    return Average(np.asarray(count, np.int32), mean)


def make_state_step(
    network: Network, start: Callable[[ModelState], ModelState], *, seed: int, axis_name: str | None
) -> Callable[[Variables, Batch], ModelState]:
    """Make `step(variables, batch)`, which returns the state that one batch leaves, run as in training from `start`.

    `batch` has `wave` (batch, samples), `step` (batch,), one number that the random numbers follow from, and `length`
    where clips have one. As in the published procedure dropout is on; build the network without other augmentation.
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
    """Make one state of those that single batches left, each batch counting the same.

    Args:
        model_state: what is replaced; gives the types.
        each: the results of the step above.
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
