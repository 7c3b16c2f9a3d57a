"""Every optimisation beside what it replaced, on the shapes of AASIST-L's blocks 1 and 2: before and after.

The first of each set is the plain way, which is also what the ratios are to.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aasist_jax.detection.detector import Detector
from aasist_jax.features.sinc import sinc_filters
from aasist_jax.ops import choice
from aasist_jax.ops.batch_norm import normalize, normalize_by_batch, normalize_convolution_by_batch
from aasist_jax.ops.convolution import conv2d, convolve, kernel_gradient_by_rows
from aasist_jax.ops.native import kernels as operations
from aasist_jax.ops.native.build import native_kernels
from aasist_jax.ops.pooling import max_pool_time
from aasist_jax.ops.residual_block import activate_merge_and_pool, evaluate_block, evaluate_block_by_layers, merge
from aasist_jax.ops.selu import selu
from aasist_jax.ops.sinc import pooled_sinc_magnitude, sinc_convolution
from aasist_jax.runtime.start_up import prepare_to_compute, use_compilation_cache
from scripts.benchmarking.apart import own_process
from scripts.benchmarking.inputs import labels, noise
from scripts.benchmarking.jax_contenders import jax_training
from scripts.benchmarking.setting import Section, Setting
from scripts.benchmarking.turns import Contender, Turns, take_turns, turns_table

BATCH = 2
ROWS, CHANNELS = 23, 32
STEPS = {"block 1": 21_490, "block 2": 7_163}
TOLERANCE = 1e-4
"""Of results that are divided by their largest magnitude."""


class Partly(NamedTuple):
    """Results of which some are compared and others only computed."""

    compared: Any
    others: Any


Ways = Mapping[str, Callable[..., Any]]


def measure_choices(setting: Setting) -> Section:
    """Time each set of ways to do the same by turns."""
    rows: list[tuple[str, int, Turns]] = []
    for what, contenders in contenders_of_sets().items():
        rows += [(what, BATCH, turns) for turns in take_turns(what, contenders, rounds=setting.rounds)]
    rows += [("training step, memory", BATCH, turns) for turns in _memory(setting)]
    detector, wave = Detector(setting.weights), noise(BATCH, setting.weights.config.nb_samp)
    whole = np.array([[0, wave.shape[1]]] * BATCH, np.int32)
    if detector.frame_geometry is not None:
        frames = detector.encode(wave, whole)
        parts = {"encoder": lambda: detector.encode(wave, whole), "graph part": lambda: detector.classify(frames)}
        contenders = {name: Contender(_nothing(part), 0) for name, part in parts.items()}
        rows += [("model", BATCH, turns) for turns in take_turns("model", contenders, rounds=setting.rounds)]
    figures = [{"what": what, "batch": size} | turns.figures() for what, size, turns in rows]
    return Section(figures, [turns_table("choices: before and after", rows, baseline="the first of its kind")])


def contenders_of_sets() -> dict[str, dict[str, Contender]]:
    """The ways of each set; ours in C++ only where they can run."""
    found = {}
    for what, (operands, ways) in sets().items():
        usable = {name: way for name, way in ways.items() if "C++" not in name or native_kernels()}
        scales: list[float] = []
        found[what] = {
            name: Contender(_call(way, operands, "XLA" in name, scales), TOLERANCE) for name, way in usable.items()
        }
    return found


def sets() -> dict[str, tuple[tuple[jax.Array, ...], Ways]]:
    """What is compared: operands, and the ways. Ways whose name has XLA in it are traced without our kernels."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(0, 1, shape), jnp.float32)

    c, one, two = CHANNELS, STEPS["block 1"], STEPS["block 2"]
    image, large, small = (draw(BATCH, ROWS, one, 1), draw(BATCH, ROWS + 1, one, c), draw(BATCH, ROWS, two, c))
    first, square = 0.3 * draw(2, 3, 1, c), 0.1 * draw(2, 3, c, c)
    scale, bias, mean, var = draw(c), draw(c), draw(c), 1 + draw(c) ** 2
    span = {steps: jnp.tile(jnp.array([[0, steps]], jnp.int32), (BATCH, 1)) for steps in (one, two)}
    block1 = (image, span[one], first, bias, square, bias, 0.3 * draw(3, 1, c))
    block2 = (small, span[two], square, bias, square, bias, jnp.zeros((0, c, c)))
    wave = 0.1 * draw(BATCH, 3 * one + 130)
    block: Ways = {
        "XLA, batch norm apart": functools.partial(_unfolded, mean, var, scale),
        "XLA, batch norm folded": functools.partial(_folded, evaluate_block_by_layers, mean, var, scale),
        "C++": functools.partial(_folded, evaluate_block, mean, var, scale),
    }
    gradient = functools.partial(kernel_gradient_by_rows, window=(2, 3), padding=(1, 1))
    end = (large, image, square, bias, 0.3 * draw(3, 1, c))
    return {
        "SELU, block 1": ((large,), {"XLA, expm1": jax.nn.selu, "XLA, exp - 1": selu}),
        "front-end": (
            (wave,),
            {"XLA, layers": _front_end_by_layers, "XLA, one product": _front_end, "C++": _front_end},
        ),
        "block 1, evaluation": (block1, block),
        "block 2, evaluation": (block2, block),
        "kernel gradient, block 2": (
            (small, draw(BATCH, ROWS + 1, two, c)),
            {
                "XLA's own": lambda x, dy: jax.vjp(lambda k: convolve(x, k, (1, 1)), square)[1](dy)[0],
                "XLA, matrix products": gradient,
                "C++": lambda x, dy: operations.kernel_gradient(x, dy, height=2, pad_rows=1)[0],
            },
        ),
        "one-channel convolution, block 1": (
            (image, first, large),
            {
                "XLA's own": lambda x, k, dy: jax.vjp(lambda x, k: _plain(x, k, (1, 1)), x, k)[1](dy),
                "XLA, sums and products": lambda x, k, dy: _conv_gradients(x, k, bias, dy),
            },
        ),
        "convolution's input gradient, block 2": (
            (small, square, draw(BATCH, ROWS + 1, two, c)),
            {
                "XLA": lambda x, k, dy: jax.vjp(lambda x: convolve(x, k, (1, 1)), x)[1](dy)[0],
                "C++": lambda x, k, dy: jax.vjp(lambda x: conv2d(x, k, bias, (1, 1)), x)[1](dy)[0],
            },
        ),
        "batch norm, forward and back, block 2": (
            (draw(BATCH, ROWS + 1, two, c), draw(BATCH, ROWS + 1, two, c)),
            {
                "XLA, automatic gradient": lambda x, dy: jax.vjp(_batch_norm_plain(scale, bias), x)[1](dy)[0],
                "XLA, written out": lambda x, dy: jax.vjp(_batch_norm(scale, bias), x)[1](dy)[0],
            },
        ),
        "convolution and batch norm, forward and back, block 1": (
            (image, first, large),
            {
                "XLA, stored": lambda x, k, dy: jax.vjp(_stored(scale, bias), x, k)[1](dy),
                "C++, stored": lambda x, k, dy: jax.vjp(_stored(scale, bias), x, k)[1](dy),
                "C++, computed again": lambda x, k, dy: jax.vjp(_computed_again(scale, bias), x, k)[1](dy),
            },
        ),
        "end of block 1, forward and back": (
            (*end, draw(BATCH, ROWS, one // 3, c)),
            {
                "XLA, windowed pool": functools.partial(_end_gradients, _end_with_window),
                "XLA, byte pool": functools.partial(_end_gradients, _end_by_layers),
                "C++": functools.partial(_end_gradients, activate_merge_and_pool),
            },
        ),
    }


def _call(
    way: Callable[..., Any], operands: tuple[jax.Array, ...], xla: bool, scales: list[float]
) -> Callable[[], np.ndarray]:
    """Samples of what is to be compared, divided by `scales`: the largest magnitudes, which the first way finds."""
    run = jax.jit(lambda *operands: way(*operands))

    def call() -> np.ndarray:
        if xla:
            with choice.xla_only():
                results = run(*operands)
        else:
            results = run(*operands)
        jax.block_until_ready(results)
        compared = results.compared if isinstance(results, Partly) else results
        samples = [np.asarray(leaf).ravel()[:: 1 + leaf.size // 1000] for leaf in jax.tree.leaves(compared)]
        if not scales:
            scales.extend(float(np.abs(sample).max()) for sample in samples)
        return np.concatenate([sample / scale for sample, scale in zip(samples, scales, strict=True)])

    return call


def _nothing(call: Callable[[], Any]) -> Callable[[], np.ndarray]:
    def run() -> np.ndarray:
        call()
        return np.zeros(1)

    return run


def _memory(setting: Setting) -> list[Turns]:
    """The training step in a process whose malloc is as it comes, and in one that keeps its memory."""
    job = (setting.weights, noise(BATCH, setting.weights.config.nb_samp))
    ways = {"malloc as it comes": use_compilation_cache, "memory kept, huge pages": prepare_to_compute}
    with contextlib.ExitStack() as stack:
        contenders = {
            name: stack.enter_context(own_process(name, prepare, _training, job)) for name, prepare in ways.items()
        }
        return take_turns("training step, memory", contenders, rounds=setting.rounds, compared=1)


def _training(job: Any) -> Contender:
    weights, wave = job
    return Contender(jax_training(weights, wave, labels(len(wave))), TOLERANCE)


def _plain(x: jax.Array, kernel: jax.Array, padding: tuple[int, int]) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), [(p, p) for p in padding], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _conv_gradients(x: jax.Array, kernel: jax.Array, bias: jax.Array, dy: jax.Array) -> Any:
    return jax.vjp(lambda x, k: conv2d(x, k, bias, (1, 1)), x, kernel)[1](dy)


def _front_end_by_layers(wave: jax.Array) -> jax.Array:
    x = jnp.abs(sinc_convolution(wave, jnp.asarray(sinc_filters(70, 128))))
    batch, t, f = x.shape
    x = x[:, : t // 3 * 3, : f // 3 * 3].reshape(batch, t // 3, 3, f // 3, 3)
    return selu(x.max(axis=(2, 4)).swapaxes(1, 2))


def _front_end(wave: jax.Array) -> jax.Array:
    return selu(pooled_sinc_magnitude(wave, jnp.asarray(sinc_filters(70, 128))[None]))


def _unfolded(mean: Any, var: Any, scale: Any, *operands: Any) -> jax.Array:
    x, _, kernel1, bias1, kernel2, bias2, shortcut = operands
    y = normalize(_plain(x, kernel1, (1, 1)) + bias1.reshape(1, 1, 1, -1), scale, bias1, mean, var)
    z = _plain(selu(y), kernel2, (0, 1)) + bias2.reshape(1, 1, 1, -1)
    return max_pool_time(z + (_plain(x, shortcut[None], (0, 1)) if shortcut.shape[0] else x))


def _folded(block: Any, mean: Any, var: Any, scale: Any, *operands: Any) -> jax.Array:
    x, valid, kernel1, bias1, *rest = operands
    factor = scale * jax.lax.rsqrt(var + 1e-5)
    out: jax.Array = block(x, valid, kernel1 * factor.reshape(1, 1, 1, -1), (bias1 - mean) * factor + bias1, *rest)
    return out


def _batch_norm(scale: jax.Array, bias: jax.Array) -> Callable[[jax.Array], jax.Array]:
    return lambda x: normalize_by_batch(x, scale, bias, None)[0]


def _batch_norm_plain(scale: jax.Array, bias: jax.Array) -> Callable[[jax.Array], jax.Array]:
    def apply(x: jax.Array) -> jax.Array:
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        var = jnp.square(x - mean.reshape(1, 1, 1, -1)).mean(axes)
        return normalize(x, scale, bias, mean, var)

    return apply


def _stored(scale: jax.Array, bias: jax.Array) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return lambda x, kernel: normalize_by_batch(conv2d(x, kernel, bias, (1, 1)), scale, bias, None)[0]


def _computed_again(scale: jax.Array, bias: jax.Array) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return lambda x, kernel: normalize_convolution_by_batch(x, kernel, bias, scale, bias, (1, 1), None)[0]


def _end_gradients(end: Callable[..., jax.Array], *operands: jax.Array) -> Partly:
    pooled, pullback = jax.vjp(end, *operands[:-1])
    da, dx, dk, db, ds = pullback(operands[-1])
    # Which of nearly equal steps a pool takes is decided by rounding, and moves the other gradients.
    return Partly(compared=(pooled, db), others=(da, dx, dk, ds))


def _end_with_window(a: jax.Array, *operands: jax.Array) -> jax.Array:
    z = merge(selu(a), *operands)
    return jax.lax.reduce_window(z, -jnp.inf, jax.lax.max, (1, 1, 3, 1), (1, 1, 3, 1), "VALID")


def _end_by_layers(a: jax.Array, *operands: jax.Array) -> jax.Array:
    return max_pool_time(merge(selu(a), *operands))
