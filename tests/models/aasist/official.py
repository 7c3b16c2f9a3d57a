"""The official models in this package's terms, converted once a session; their goldens."""

import functools
from typing import Any

import jax.numpy as jnp

from aasist_jax.config import parse_model_config
from aasist_jax.detection.detector import Detector
from aasist_jax.weights.folder import Source, Weights
from aasist_jax.weights.names import from_torch
from aasist_jax.weights.torch_file import read_torch_file
from tests.conftest import REFERENCE
from tests.models.aasist.goldens import ForwardGolden, read_forward_golden


@functools.cache
def golden(name: str) -> ForwardGolden:
    return read_forward_golden(REFERENCE, name)


@functools.cache
def weights(name: str) -> Weights:
    config = parse_model_config(golden(name).config, f"{name}.forward.npz")
    variables = from_torch(config, read_torch_file(golden(name).weights), f"{name}.pth")
    return Weights(config, variables, Source(f"{name}.pth", ""), name, name)


@functools.cache
def detector(name: str, dtype: Any = jnp.float32) -> Detector:
    """Shared, so that the compiler works once for all tests; they score one window at a time for the same reason."""
    return Detector(weights(name), dtype=dtype)
