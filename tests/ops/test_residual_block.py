"""The C++ kernels of a residual block against the same operations in XLA."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.ops import choice, convolution, pooling, residual_block
from aasist_jax.ops.native import kernels as operations
from aasist_jax.ops.selu import selu
from tests.ops.comparison import assert_same, both_precisions, draw, native, value_and_gradients

pytestmark = pytest.mark.usefixtures("quickly_compiled")

BLOCK_ENDS = [(1, 32), (32, 24), (24, 24), (8, 64), (1, 5)]


@native
@both_precisions
@pytest.mark.parametrize(("channels", "features"), BLOCK_ENDS)
@pytest.mark.parametrize(("batch", "rows", "steps"), [(2, 3, 220), (3, 4, 4), (1, 2, 2), (1, 1, 9)])
def test_the_end_of_a_block_and_its_gradients(
    dtype: Any, channels: int, features: int, batch: int, rows: int, steps: int
) -> None:
    with jax.enable_x64(True):
        a, x = draw(dtype, batch, rows + 1, steps, features), draw(dtype, batch, rows, steps, channels)
        kernel, bias = draw(dtype, 2, 3, features, features, seed=1), draw(dtype, features)
        taps = 3 if channels != features else 0
        operands = (a, x, kernel, bias, draw(dtype, taps, channels, features))
        g = draw(dtype, batch, rows, steps // 3, features, seed=2)

        def by_hand(a: Any, x: Any, kernel: Any, bias: Any, shortcut: Any) -> Any:
            z = convolution.convolve(selu(a), kernel, (0, 1)) + bias.reshape(1, 1, 1, -1)
            z += convolution.convolve(x, shortcut[None], (0, 1)) if taps else x
            z = z[:, :, : steps // 3 * 3].reshape(batch, rows, steps // 3, 3, features)
            return pooling.first_max(z, 3)

        pooled, gradients = value_and_gradients(residual_block.activate_merge_and_pool, operands, g)
        expected, automatic = value_and_gradients(by_hand, operands, g)
        # Near ties may fall either way in float32: where they do, gradients differ by a whole value.
        assert_same(pooled, expected, dtype)
        if dtype == np.float64:
            wanted = 4 + bool(taps)
            assert_same(gradients[:wanted], automatic[:wanted], dtype)

        def by_layers(*residuals: Any) -> Any:
            index = pooling.largest_of_three(residual_block.merge(*residuals))[1]
            return index, residual_block.end_gradients_by_layers(*residuals, index, g)

        residuals = (selu(a), *operands[1:])
        with choice.xla_only():
            index, same = jax.jit(by_layers)(*residuals)
        if g.size and (channels > 1 or features % operations.LANES == 0):
            there = jax.jit(residual_block._end_gradients)(*residuals, index, g)[: 4 + bool(taps)]
            for a, b in zip(there, same, strict=False):
                assert_same(a, b, dtype)


BLOCKS = [(1, 32), (32, 24), (24, 24), (32, 64), (3, 4), (40, 40)]


def folded(channels: int, features: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)

    def kernel(*shape: int) -> Any:
        return jnp.asarray(rng.normal(0, np.prod(shape[:-1]) ** -0.5, shape), jnp.float32)

    shortcut = kernel(3, channels, features) if channels != features else jnp.zeros((0, channels, features))
    conv1, conv2 = kernel(2, 3, channels, features), kernel(2, 3, features, features)
    return conv1, draw(np.float32, features), conv2, draw(np.float32, features, seed=1), shortcut


@native
@pytest.mark.parametrize(("channels", "features"), BLOCKS)
@pytest.mark.parametrize(("batch", "rows", "steps"), [(1, 5, 700), (3, 4, 4), (1, 2, 3600), (2, 1, 3), (0, 2, 2)])
def test_residual_block(channels: int, features: int, batch: int, rows: int, steps: int) -> None:
    x = draw(np.float32, batch, rows, steps, channels)
    spans = [(0, steps), (1, steps - 1), (steps // 2, steps), (-5, steps + 7)]
    for begin, end in spans:
        valid = jnp.tile(jnp.array([[begin, end]], jnp.int32), (batch, 1))
        expected = residual_block.evaluate_block_by_layers(x, valid, *folded(channels, features))
        assert_same(operations.residual_block(x, valid, *folded(channels, features)), expected, np.float32)


@native
def test_spans_of_a_residual_block_may_be_of_any_integers() -> None:
    x = draw(np.float32, 1, 3, 9, 8)
    weights = folded(8, 8)
    expected = operations.residual_block(x, jnp.array([[2, 7]], jnp.int32), *weights)
    with jax.enable_x64(True):
        valid = jnp.array([[2, 7]])
        assert valid.dtype == jnp.int64
        np.testing.assert_array_equal(operations.residual_block(x, valid, *weights), expected)


@native
def test_a_row_of_a_residual_block_does_not_depend_on_the_batch() -> None:
    x = draw(np.float32, 3, 23, 400, 32)
    valid = jnp.tile(jnp.array([[0, 400]], jnp.int32), (3, 1))
    together = operations.residual_block(x, valid, *folded(32, 32))
    for i in range(3):
        alone = operations.residual_block(x[i : i + 1], valid[:1], *folded(32, 32))
        np.testing.assert_array_equal(together[i : i + 1], alone)


@native
def test_a_residual_block_lets_nan_and_the_largest_values_through() -> None:
    x = draw(np.float32, 1, 4, 60, 8)
    valid = jnp.array([[0, 60]], jnp.int32)
    for value in (np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-40):
        odd = x.at[0, 1, 30, 2].set(value)
        actual = np.asarray(operations.residual_block(odd, valid, *folded(8, 8)))
        expected = np.asarray(residual_block.evaluate_block_by_layers(odd, valid, *folded(8, 8)))
        # What is not finite, or drowns the rest, does so to the tiles that see it: one pooled step more on either side.
        near, far = actual[:, :, 8:12], np.delete(actual, np.s_[8:12], axis=2)
        np.testing.assert_allclose(far, np.delete(expected, np.s_[8:12], axis=2), rtol=1e-5, atol=1e-5)
        if np.isfinite(value):
            assert_same(near, expected[:, :, 8:12], np.float32)
        else:
            assert not np.isfinite(near[~np.isfinite(expected[:, :, 8:12])]).any()
        # The last row of four does not see the second.
        np.testing.assert_allclose(actual[:, 3], expected[:, 3], rtol=1e-5, atol=1e-5)


@native
def test_the_gradient_of_a_residual_block_is_that_of_its_layers() -> None:
    x, valid = draw(np.float32, 2, 4, 30, 8), jnp.tile(jnp.array([[0, 30]], jnp.int32), (2, 1))
    g = draw(np.float32, 2, 4, 10, 8, seed=5)

    def gradient(block: Any) -> Any:
        return jax.vjp(lambda x, *weights: block(x, valid, *weights), x, *folded(8, 8)[:4], jnp.zeros((0, 8, 8)))[1](g)

    actual, expected = gradient(residual_block.evaluate_block), gradient(residual_block.evaluate_block_by_layers)
    for a, b in zip(actual[:5], expected[:5], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())
