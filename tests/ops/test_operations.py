"""The C++ kernels against the same operations in XLA, and the choice between the two."""

import functools
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

from aasist_jax.models.aasist import network
from aasist_jax.ops import batch_norm, choice, convolution, pooling
from aasist_jax.ops.native import build
from aasist_jax.ops.native import kernels as operations
from tests.ops.comparison import TOLERANCE, assert_same, both_precisions, draw, native, value_and_gradients

pytestmark = pytest.mark.usefixtures("quickly_compiled")

REPOSITORY = Path(__file__).resolve().parents[2]


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
    # Their shapes are enough to lower a program.
    variables = [
        jax.eval_shape(functools.partial(layer.init, train=True), jax.random.key(0), x)
        for layer, x in zip(layers, inputs, strict=True)
    ]

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


def run_these_tests_with_vectors_of(size: int, folder: Path, *options: str, optimized: bool = True) -> str:
    """Run tests of kernels in a process whose kernels are compiled for vectors of so many bytes."""
    compiler = folder / "c++"
    command = shlex.join(build.find_compiler() or [])
    compiler.write_text(f'#!/bin/sh\nexec {command} -DAASIST_VECTOR_BYTES={size} "$@" {"" if optimized else "-O0"}\n')
    compiler.chmod(0o755)
    environment = os.environ | {"CXX": str(compiler), "XDG_CACHE_HOME": str(folder)}
    files = [Path(__file__).with_name(f"test_{name}.py") for name in ("operations", "residual_block", "sinc")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment).stdout


# Every processor has vectors of 16 bytes, and none that we know of is built for them by itself.
@native
@pytest.mark.parametrize("size", [16, pytest.param(64, marks=pytest.mark.slow)])
def test_vectors_of_other_widths_give_the_same(size: int, tmp_path: Path) -> None:
    few = "test_residual_block and 5-700-32-24 or test_kernel_gradient and shape0 or test_sinc_magnitude and 3-1000"
    # Without optimization they are built in half the time.
    found = run_these_tests_with_vectors_of(size, tmp_path, "-k", few, optimized=False)
    assert re.search(r"^5 passed", found, re.MULTILINE), found


@native
@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 64])
def test_vectors_of_other_widths_pass_all_tests(size: int, tmp_path: Path) -> None:
    found = run_these_tests_with_vectors_of(size, tmp_path, "-m", "not slow", "-k", "not other_widths")
    assert re.search(r"^\d+ passed", found, re.MULTILINE), found
    assert "failed" not in found
