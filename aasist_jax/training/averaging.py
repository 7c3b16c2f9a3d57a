"""Equal-weight averages of parameters, and the batch-norm statistics that go with them (SWA, Izmailov et al. 2018)."""

from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from aasist_jax.models.layers import BATCH_NORM_MOMENTUM
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


def make_statistics_step(model: nn.Module, *, seed: int, axis_name: str | None) -> Callable[[Any, Batch], Any]:
    """Make `step(variables, batch)`, which returns the batch statistics of one batch in training mode.

    `batch` has `wave` (batch, samples) and `step` (batch,), one number that the random streams follow from. As in the
    published procedure dropout is on and `freq_aug` off.
    """

    def step(variables: Any, batch: Batch) -> Any:
        # From running statistics of zero, one update leaves momentum times the batch's own.
        zeros = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
        key = jax.random.fold_in(jax.random.key(seed), batch["step"][0])
        device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
        rngs = {"dropout": jax.random.fold_in(key, device)}
        _, updates = model.apply(
            {"params": variables["params"], "batch_stats": zeros},
            batch["wave"],
            train=True,
            rngs=rngs,
            mutable=["batch_stats"],
        )
        return updates["batch_stats"]

    return step


def mean_statistics(batch_stats: Any, each: Iterable[Any]) -> Any:
    """Average the results of the statistics step over batches, each counting the same.

    `batch_stats` gives the types. `count` becomes the number of batches, as PyTorch's re-estimation leaves it.
    """
    total, batches = None, 0
    for update in each:
        wide = jax.tree.map(lambda x: np.asarray(x, np.float64), update)
        total = wide if total is None else jax.tree.map(np.add, total, wide)
        batches += 1
    if total is None:
        raise ValueError("no batch to take statistics from")

    def finish(target: Any, value: Any) -> np.ndarray:
        target = np.asarray(target)
        if np.issubdtype(target.dtype, np.integer):
            return np.asarray(batches, target.dtype)
        return np.asarray(value / batches / BATCH_NORM_MOMENTUM, target.dtype)

    return jax.tree.map(finish, batch_stats, total)
