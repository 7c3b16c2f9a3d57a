"""What the tests of the kernels share: operands, gradients and the comparison with XLA."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.ops.native import build

# Sums over thousands of places in another order.
TOLERANCE = {np.float32: 3e-6, np.float64: 1e-13}


native = pytest.mark.skipif(not build.native_kernels(), reason="a C++ compiler is not installed")


both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def assert_same(actual: Any, expected: Any, dtype: Any) -> None:
    """Equal up to the order of summation, relative to the largest magnitude."""
    flat, reference = jax.tree.leaves(actual), jax.tree.leaves(expected)
    assert len(flat) == len(reference)
    for a, b in zip(flat, reference, strict=True):
        assert a.dtype == b.dtype == dtype
        assert a.shape == b.shape
        # Empty, or all zeros: to be met exactly.
        largest = np.abs(b).max(initial=0) or 1
        error = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max(initial=0) / largest
        assert error < TOLERANCE[dtype], error


def draw(dtype: Any, *shape: int, seed: int = 0) -> Any:
    return jnp.asarray(np.random.default_rng((seed, *shape)).normal(0.3, 1, shape), dtype)


def value_and_gradients(function: Any, operands: Any, g: Any) -> Any:
    """Also the gradients for all operands, in one program, which compiles sooner than one for every operation."""

    @jax.jit
    def run(operands: Any, g: Any) -> Any:
        value, pullback = jax.vjp(function, *operands)
        return value, pullback(g)

    return run(operands, g)
