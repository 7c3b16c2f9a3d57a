"""Batch statistics for averaged parameters, re-estimated as in stochastic weight averaging (Izmailov et al., 2018).

JAX and NumPy are imported where they are used, because a family refers to this file before it needs either.
"""

from typing import Any

from aasist_jax.models.family import StateEstimate

BATCH_NORM_MOMENTUM = 0.1


def _zeros(state: Any) -> Any:
    import jax
    import jax.numpy as jnp

    # Running statistics that start at zero are, after one update, momentum times the statistics of the batch.
    return jax.tree.map(jnp.zeros_like, state)


def _mean_statistic(target: Any, mean: Any, batches: int) -> Any:
    import numpy as np

    target = np.asarray(target)
    if np.issubdtype(target.dtype, np.integer):
        # The number of batches, which is the value of PyTorch's counter after re-estimation.
        return np.asarray(batches, target.dtype)
    return np.asarray(mean / BATCH_NORM_MOMENTUM, target.dtype)


BATCH_STATISTICS = StateEstimate(_zeros, _mean_statistic)
"""The statistics for averaged parameters are the mean over batches of the statistics of each batch."""
