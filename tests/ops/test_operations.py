"""The C++ kernels against the same operations in XLA, and the choice between the two."""

import functools
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.features import sinc
from aasist_jax.models.aasist import network
from aasist_jax.ops import batch_norm, choice, convolution, pooling, residual_block
from aasist_jax.ops import sinc as ops_sinc
from aasist_jax.ops.native import build
from aasist_jax.ops.native import kernels as operations
from aasist_jax.ops.selu import selu

# Sums over thousands of places in another order.
TOLERANCE = {np.float32: 3e-6, np.float64: 1e-13}

REPOSITORY = Path(__file__).resolve().parents[2]

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


def output(x: Any, window: tuple[int, int], padding: tuple[int, int], features: int) -> tuple[int, ...]:
    batch, f, t, _ = x.shape
    return batch, f + 2 * padding[0] - window[0] + 1, t + 2 * padding[1] - window[1] + 1, features


@native
@both_precisions
@pytest.mark.parametrize(
    ("shape", "features", "window", "padding"),
    [
        ((2, 5, 300, 32), 32, (2, 3), (1, 1)),
        ((1, 4, 129, 24), 24, (2, 3), (0, 1)),  # a vector and a half
        ((1, 4, 218, 24), 24, (2, 3), (0, 1)),  # two steps more than a span
        ((3, 2, 216, 32), 24, (1, 3), (0, 1)),
        ((1, 3, 7, 5), 3, (2, 3), (1, 1)),
        ((1, 1, 1, 1), 1, (1, 3), (0, 1)),
        ((2, 3, 40, 64), 64, (2, 3), (2, 1)),  # rows that see nothing but padding
        ((40, 1, 3, 2), 9, (1, 3), (0, 1)),  # more clips than parts
        ((1, 2, 9, 8), 8, (2, 3), (0, 1)),  # one row of gradients
        ((1, 1, 2, 8), 8, (2, 3), (1, 1)),
    ],
)
def test_kernel_gradient(dtype: Any, shape: Any, features: int, window: Any, padding: Any) -> None:
    with jax.enable_x64(True):
        x = draw(dtype, *shape)
        dy = draw(dtype, *output(x, window, padding, features), seed=1)
        with choice.xla_only():
            expected = convolution.kernel_gradient(x, dy, window=window, padding=padding)
        assert_same(operations.kernel_gradient(x, dy, height=window[0], pad_rows=padding[0]), expected, dtype)
        automatic = jax.vjp(
            lambda k: convolution.convolve(x, k, padding), jnp.zeros((*window, shape[-1], features), dtype)
        )
        assert_same(expected[0], automatic[1](dy)[0], dtype)


@native
def test_the_kernel_gradient_of_a_row_that_the_pool_leaves_nothing_of() -> None:
    nothing = (1, 2, 0, 8)
    index, g = jnp.zeros(nothing, jnp.uint8), draw(np.float32, *nothing)
    for gradient in operations.kernel_gradient(draw(np.float32, 1, 3, 2, 8), g, index, height=2, pad_rows=0):
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


@both_precisions
@pytest.mark.parametrize(
    ("shape", "features", "window", "padding"),
    [
        ((2, 5, 300, 1), 32, (2, 3), (1, 1)),
        ((1, 3, 129, 1), 24, (1, 3), (0, 1)),
        ((1, 2, 9, 1), 8, (2, 4), (0, 0)),
    ],
)
def test_one_channel_gradients(dtype: Any, shape: Any, features: int, window: Any, padding: Any) -> None:
    with jax.enable_x64(True):
        x, kernel = draw(dtype, *shape), draw(dtype, *window, 1, features)
        dy = draw(dtype, *output(x, window, padding, features), seed=1)
        actual = convolution.one_channel_gradients(x, kernel, dy, padding=padding)
        automatic = jax.vjp(lambda x, k: convolution.convolve(x, k, padding), x, kernel)[1](dy)
        assert_same(actual[:2], automatic, dtype)
        assert_same(actual[2], dy.sum((0, 1, 2)), dtype)


@native
@both_precisions
@pytest.mark.parametrize(
    ("shape", "features"),
    [((2, 5, 300, 1), 32), ((17, 2, 7, 1), 8), ((1, 1, 3, 1), 16), ((1, 3, 4, 1), 24), ((1, 2, 2, 1), 8)],
)
def test_pooled_shortcut_gradients(dtype: Any, shape: Any, features: int) -> None:
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, kernel = draw(dtype, *shape), draw(dtype, 3, 1, features)
        index = jnp.asarray(rng.integers(0, 3, (*shape[:2], shape[2] // 3, features)), jnp.uint8)
        g = draw(dtype, *index.shape, seed=1)
        dz = pooling.unpool_time(index, g, steps=shape[2])
        expected = jax.vjp(lambda x, k: convolution.convolve(x, k[None], (0, 1)), x, kernel)[1](dz)
        assert_same(operations.pooled_shortcut_gradients(x, kernel, index, g), expected, dtype)


def assert_normalized_alike(
    function: Any, dtype: Any, loose: float, *operands: Any, padding: tuple[int, int] = (1, 1)
) -> None:
    """Values and gradients, with the C++ kernels and without, and against automatic differentiation."""
    with jax.enable_x64(True):
        y, mean, var = jax.eval_shape(lambda *operands: function(*operands)[:3], *operands)
        g = draw(dtype, *y.shape, seed=1), jnp.zeros(mean.shape, dtype), jnp.zeros(var.shape, dtype)

        def run() -> Any:
            values, gradients = value_and_gradients(lambda *operands: function(*operands)[:3], operands, g)
            return *values, *gradients

        native = run()
        with choice.xla_only():
            xla = run()
        # The gradient for the bias of a convolution before a batch norm is rounding noise, of all its terms.
        noise = {5} if len(operands) == 5 else set()
        for i, (a, b) in enumerate(zip(native, xla, strict=True)):
            scale = y.size**0.5 if i in noise else max(np.abs(b).max(), 1)
            np.testing.assert_allclose(a, b, rtol=0, atol=loose * TOLERANCE[dtype] * scale)
        n = y.size // y.shape[-1]
        assert function(*operands)[3] == n

        def by_hand(*operands: Any) -> Any:
            *first, scale, bias = operands
            x = convolution.convolve_and_add(first[0], first[1], first[2], padding) if len(first) > 1 else first[0]
            mean, var = x.mean(tuple(range(x.ndim - 1))), x.var(tuple(range(x.ndim - 1)))
            return batch_norm.normalize(x, scale, bias, mean, var), mean, var

        if n > 1:
            expected, automatic = value_and_gradients(by_hand, operands, g)
            for i, (a, b) in enumerate(zip(native, (*expected, *automatic), strict=True)):
                scale = y.size**0.5 if i in noise else max(np.abs(b).max(), 1)
                np.testing.assert_allclose(a, b, rtol=0, atol=10 * loose * TOLERANCE[dtype] * scale)


@both_precisions
@pytest.mark.parametrize("shape", [(2, 3, 500, 32), (1, 1, 7, 8), (1, 2, 129, 24), (1, 64)])
def test_batch_norm(dtype: Any, shape: Any) -> None:
    with jax.enable_x64(True):
        operands = (100 + draw(dtype, *shape), draw(dtype, shape[-1], seed=2), draw(dtype, shape[-1], seed=3))
    # Deviations of 1 from a mean of 100 have two digits less.
    assert_normalized_alike(
        lambda x, scale, bias: batch_norm.normalize_by_batch(x, scale, bias, None), dtype, 100, *operands
    )


@native
@both_precisions
@pytest.mark.parametrize(
    ("shape", "features", "window", "padding"),
    [
        ((2, 3, 500, 1), 32, (2, 3), (1, 1)),
        ((1, 1, 7, 1), 8, (2, 3), (1, 1)),
        ((17, 2, 20, 1), 24, (2, 3), (1, 2)),
        ((1, 40, 5, 1), 8, (2, 3), (0, 1)),
        ((1, 2, 9, 1), 8, (1, 3), (0, 0)),
        ((1, 1, 30, 1), 16, (2, 1), (1, 0)),
    ],
)
def test_batch_norm_of_a_convolution_of_one_channel(
    dtype: Any, shape: Any, features: int, window: Any, padding: Any
) -> None:
    with jax.enable_x64(True):
        vectors = [draw(dtype, features, seed=seed) for seed in (0, 2, 3)]
        operands = (draw(dtype, *shape), draw(dtype, *window, 1, features), *vectors)
    assert convolution.suits_one_channel(operands[1], padding)
    function = functools.partial(batch_norm.normalize_convolution_by_batch, padding=padding, axis_name=None)
    assert_normalized_alike(function, dtype, 10, *operands, padding=padding)


@native
def test_moments_of_large_values_keep_their_digits() -> None:
    x, kernel, bias = draw(np.float32, 5, 4, 3000, 1), draw(np.float32, 2, 3, 1, 8), jnp.full(8, 1000, jnp.float32)
    mean, squares = operations.one_channel_moments(x, kernel, bias, padding=(1, 1))
    exact = np.asarray(convolution.convolve_and_add(x, kernel, bias, (1, 1)), np.float64).reshape(-1, 8)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(squares / len(exact), exact.var(0), rtol=1e-4)


@native
@both_precisions
@pytest.mark.parametrize(
    ("batch", "samples", "filters", "taps", "banks"),
    [
        (2, 3000, 70, 129, 1),
        (3, 1000, 70, 129, 3),  # a bank for each clip
        (20, 27, 8, 5, 1),  # filters that fill no pool, more clips than parts
        (1, 7, 3, 5, 1),  # one pooled step
        (1, 400, 96, 3, 1),
        (2, 200, 9, 1, 1),
        (1, 6, 3, 5, 1),  # no pooled step
        (2, 50, 2, 5, 1),  # no pool of filters
    ],
)
def test_sinc_magnitude(dtype: Any, batch: int, samples: int, filters: int, taps: int, banks: int) -> None:
    with jax.enable_x64(True):
        wave, bank = draw(dtype, batch, samples), draw(dtype, banks, filters, taps, seed=1)
        bank = bank + bank[..., ::-1]
        expected = jax.jit(ops_sinc.pooled_sinc_magnitude_by_product)(wave, bank)
        assert_same(operations.sinc_magnitude(wave, bank), expected, dtype)


@native
def test_the_gradient_of_the_sinc_magnitude_is_that_of_the_product() -> None:
    wave, g = draw(np.float32, 2, 60), draw(np.float32, 2, 2, 18, seed=2)
    for banks in (1, 2):
        bank = draw(np.float32, banks, 6, 5, seed=1)
        bank += bank[..., ::-1]
        (y, pullback), (same, expected) = (
            jax.vjp(f, wave, bank) for f in (ops_sinc.pooled_sinc_magnitude, ops_sinc.pooled_sinc_magnitude_by_product)
        )
        assert_same(y, same, np.float32)
        for a, b in zip(pullback(g), expected(g), strict=True):
            np.testing.assert_array_equal(a, b)


@native
def test_sinc_magnitude_lets_nan_through() -> None:
    wave = draw(np.float32, 1, 3000).at[0, 1500].set(jnp.nan)
    bank = jnp.asarray(sinc.sinc_filters(70, 128))[None]
    expected = jax.jit(ops_sinc.pooled_sinc_magnitude_by_product)(wave, bank)
    assert 0 < np.isnan(expected).sum() < expected.size
    np.testing.assert_array_equal(np.isnan(operations.sinc_magnitude(wave, bank)), np.isnan(expected))


@native
def test_filters_of_an_even_number_of_taps_are_left_to_xla() -> None:
    wave, bank = draw(np.float32, 1, 300), draw(np.float32, 1, 6, 4)
    expected = ops_sinc.pooled_sinc_magnitude_by_product(wave, bank)
    np.testing.assert_array_equal(ops_sinc.pooled_sinc_magnitude(wave, bank), expected)


@native
@both_precisions
@pytest.mark.parametrize(("steps", "channels"), [(3, 8), (10, 24), (11, 5), (300, 32)])
def test_unpool_time(dtype: Any, steps: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        index = jnp.asarray(rng.integers(0, 3, (2, 3, steps // 3, channels)), jnp.uint8)
        g = draw(dtype, *index.shape)
        expected = pooling.unpool_time(index, g, steps=steps)
        actual = operations.unpool_time(index, g, steps=steps)
        assert actual.dtype == dtype
        np.testing.assert_array_equal(actual, expected)


@native
@both_precisions
@pytest.mark.parametrize(
    ("shape", "features", "height", "pad_rows"),
    [
        ((2, 5, 400, 32), 32, 2, 1),
        ((1, 3, 217, 24), 24, 2, 0),  # a vector and a half; one step more than a span
        ((3, 2, 50, 32), 64, 1, 0),
        ((1, 4, 7, 3), 5, 2, 1),
        ((20, 1, 3, 8), 8, 1, 1),
        ((1, 1, 2, 8), 8, 2, 1),
        ((1, 2, 1, 8), 8, 2, 0),
    ],
)
def test_convolution_and_its_gradient(dtype: Any, shape: Any, features: int, height: int, pad_rows: int) -> None:
    with jax.enable_x64(True):
        x, kernel = draw(dtype, *shape), draw(dtype, height, 3, shape[-1], features)
        bias = draw(dtype, features)
        expected, pullback = jax.vjp(
            lambda x: convolution.convolve(x, kernel, (pad_rows, 1)) + bias.reshape(1, 1, 1, -1), x
        )
        assert_same(operations.convolution(x, kernel, bias, pad_rows=pad_rows), expected, dtype)
        dy = draw(dtype, *expected.shape, seed=1)
        assert_same(convolution.input_gradient(dy, kernel, (pad_rows, 1)), pullback(dy)[0], dtype)


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


SUMS = """
import os, sys
os.sched_setaffinity(0, map(int, sys.argv[1:]))
import jax, numpy as np
from aasist_jax.ops.native import build, kernels as operations
assert build.native_kernels()
rng = np.random.default_rng(0)
x, dy = (rng.normal(size=(2, 23, 500, 32)).astype(np.float32) for _ in range(2))
image, kernel, c = x[..., :1].copy(), x[0, :2, :3, None], np.ones(32, np.float32)
results = [
    operations.kernel_gradient(x, dy, height=2, pad_rows=1),
    operations.pooled_shortcut_gradients(image, kernel[0], (dy > 0)[:, :, :166].astype(np.uint8), dy[:, :, :166]),
    operations.one_channel_moments(image, kernel, c, padding=(1, 1)),
    operations.one_channel_gradient_sums(image, kernel, c, dy[:, :22], c, c, padding=(0, 1)),
    operations.one_channel_normalized_gradients(image, kernel, c, dy[:, :22], c, c, c, c, c, padding=(0, 1)),
]
sys.stdout.buffer.write(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(results)))
"""


@native
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be kept to a core here")
def test_sums_are_the_same_to_the_bit_on_one_core_and_on_more() -> None:
    def run(cores: set[int]) -> bytes:
        command = [sys.executable, "-c", SUMS, *map(str, cores)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=REPOSITORY).stdout

    cores = os.sched_getaffinity(0)
    one = run({min(cores)})
    assert len(one) > 20_000
    assert run(cores) == one


@native
def test_the_training_step_uses_the_kernels_and_what_is_exported_does_not() -> None:
    wave, g = jnp.ones((2, 98)), jnp.ones((2, 4, 3, 16))
    layers = [network.SincLayer(12, 8), network.ResidualBlock(8, first=True), network.ResidualBlock(16)]
    inputs = [wave, jnp.ones((2, 4, 30, 1)), jnp.ones((2, 4, 10, 8))]
    variables = [layer.init(jax.random.key(0), x, train=True) for layer, x in zip(layers, inputs, strict=True)]

    def loss(variables: Any, x: Any) -> Any:
        for layer, state in zip(layers, variables, strict=True):
            x, _ = layer.apply(state, x, train=True, mutable=["batch_stats"])
        return (x * g).sum()

    def gradient() -> str:
        return jax.jit(jax.grad(lambda *operands: loss(*operands), allow_int=True)).lower(variables, wave).as_text()

    text = gradient()
    assert {name for name in build.HANDLERS if name in text} == {*build.HANDLERS} - {"AasistJaxResidualBlock"}
    with choice.xla_only():
        assert "Aasist" not in gradient()


def test_other_types_and_shapes_are_left_to_xla() -> None:
    x, dy = draw(jnp.bfloat16, 2, 3, 40, 8), draw(jnp.bfloat16, 2, 3, 40, 8)
    gradient = functools.partial(convolution.kernel_gradient, window=(1, 3), padding=(0, 1))
    assert "Aasist" not in jax.jit(gradient).lower(x, dy).as_text()
    image, norm = draw(np.float32, 2, 3, 40, 1), batch_norm.normalize_convolution_by_batch
    step = jax.jit(jax.grad(lambda *operands: norm(*operands, (1, 1), None)[0].sum(), argnums=(0, 1, 2, 3, 4)))

    def lowered(*shape: int) -> str:
        of_features = draw(np.float32, shape[-1])
        return step.lower(image, draw(np.float32, *shape), of_features, of_features, of_features).as_text()

    assert "AasistJaxOneChannel" in lowered(2, 3, 1, 8)
    # Features that fill no vector, taps beyond three, a row of the output that sees padding alone.
    for shape in ((2, 3, 1, 5), (2, 4, 1, 8), (1, 3, 1, 8)):
        assert "AasistJaxOneChannel" not in lowered(*shape)


def run_these_tests_with_vectors_of(size: int, folder: Path, *options: str) -> str:
    """Run tests of this file in a process whose kernels are compiled for vectors of so many bytes."""
    compiler = folder / "c++"
    command = shlex.join(build.find_compiler() or [])
    compiler.write_text(f'#!/bin/sh\nexec {command} -DAASIST_VECTOR_BYTES={size} "$@"\n')
    compiler.chmod(0o755)
    environment = os.environ | {"CXX": str(compiler), "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment).stdout


@native
@pytest.mark.parametrize("size", [16, 64])
def test_vectors_of_other_widths_give_the_same(size: int, tmp_path: Path) -> None:
    few = "test_residual_block and 5-700-32-24 or test_kernel_gradient and shape0 or test_sinc_magnitude and 3-1000"
    found = run_these_tests_with_vectors_of(size, tmp_path, "-k", few)
    assert re.search(r"^5 passed", found, re.MULTILINE), found


@native
@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 64])
def test_vectors_of_other_widths_pass_all_tests(size: int, tmp_path: Path) -> None:
    found = run_these_tests_with_vectors_of(size, tmp_path, "-m", "not slow", "-k", "not other_widths")
    assert re.search(r"^\d+ passed", found, re.MULTILINE), found
    assert "failed" not in found


def without_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return build.native_kernels.__wrapped__


def test_the_switch_leaves_the_kernels_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load = without_cache(monkeypatch, tmp_path)
    monkeypatch.setenv(build.SWITCH, "0")
    assert not load()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("compiler", ["/nowhere/c++", "false", "c++ '", ""])
def test_without_a_working_compiler_one_line_says_so(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load = without_cache(monkeypatch, tmp_path)
    monkeypatch.setenv("CXX", compiler)
    if not compiler:
        monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert not load()
    (record,) = caplog.records
    assert "slower" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_compiler_may_come_with_options_and_complain_in_any_encoding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load = without_cache(monkeypatch, tmp_path)
    for complaint, shown in ((r"\351chec", "\ufffdchec"), (r"\n", "exit status 3")):
        monkeypatch.setenv("CXX", f"sh -c \"printf '{complaint}' >&2; exit 3\"")
        with caplog.at_level(logging.WARNING):
            assert not load()
        assert shown in caplog.records[-1].getMessage()


@native
def test_a_damaged_library_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load = without_cache(monkeypatch, tmp_path)
    compiler = build.find_compiler()
    assert compiler is not None
    library = build._library_path(compiler)
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert not load()
    assert str(library) in caplog.text
    assert "remove this file" in caplog.text


@native
def test_a_library_is_built_once_for_a_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load = without_cache(monkeypatch, tmp_path)
    monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda *args, **options: None)
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-O0"))  # It is only built, which takes less time so.
    assert load()
    (built,) = (path for path in tmp_path.rglob("*") if path.is_file())
    before = built.stat().st_mtime_ns
    assert load()
    assert built.stat().st_mtime_ns == before
    # Another processor, another library: one built for more instructions than there are would crash.
    monkeypatch.setattr(build, "_processor", lambda: "another")
    assert build._library_path(["c++"]) != built
