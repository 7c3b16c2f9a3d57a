"""A tiny AASIST, quick to compile, for tests that need a model and not the official one."""

from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from aasist_jax.models.aasist.config import AASISTConfig
from aasist_jax.weights.names import variable_shapes

SAMPLES = 4600
"""Two temporal nodes."""

CONFIG = AASISTConfig(
    nb_samp=SAMPLES,
    first_conv=8,
    filts=(24, (1, 3), (3, 3), (3, 4), (4, 4)),
    gat_dims=(4, 5),
    pool_ratios=(0.5, 0.7, 0.5, 0.5),
    temperatures=(2.0, 2.0, 100.0, 100.0),
)


def random_variables(seed: int = 0) -> dict[str, Any]:
    """Made by NumPy: JAX would compile the model's initialisation for half a minute."""
    rng = np.random.default_rng(seed)
    # Sorted, so that the values do not depend on the order in which the network declares its layers.
    shapes = sorted(variable_shapes(CONFIG).items())
    flat = {path: rng.normal(size=leaf.shape).astype(leaf.dtype) for path, leaf in shapes}
    for path, value in flat.items():
        if path.endswith(("/var", "/count")):
            flat[path] = np.asarray(np.abs(value) + np.ones((), value.dtype))
    return unflatten_dict(flat, sep="/")


def scaled_variables(seed: int = 0) -> dict[str, Any]:
    """Random weights whose logits are of the size that trained models give: a few units, not millions."""
    flat = flatten_dict(random_variables(seed), sep="/")
    for path, value in flat.items():
        if path.endswith("/kernel"):
            flat[path] = (value / np.sqrt(np.prod(value.shape[:-1]))).astype(value.dtype)
    return unflatten_dict(flat, sep="/")
