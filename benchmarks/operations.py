"""Times each operation beside the form that it replaced, on the shapes of blocks 1 and 2 of AASIST-L."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aasist_jax.detection.detector import Detector
from aasist_jax.features.sinc import sinc_filters
from aasist_jax.ops import choice
from aasist_jax.ops.batch_norm import normalize, normalize_by_batch, normalize_convolution_by_batch
from aasist_jax.ops.convolution import conv2d
from aasist_jax.ops.pooling import max_pool_time
from aasist_jax.ops.residual_block import activate_merge_and_pool, evaluate_block, merge
from aasist_jax.ops.selu import selu
from aasist_jax.ops.sinc import pooled_sinc_magnitude, sinc_convolution
from benchmarks.inputs import noise
from benchmarks.options import Options
from benchmarks.processes import child
from benchmarks.rounds import Implementation, Table, take_turns, timing_table

BATCH, ROWS, CHANNELS, STEPS = 2, 23, 32, (21_490, 7_163)
"""Shape of a batch of inner maps: clips, rows, channels, and the time steps of block 1 and of block 2."""

TOLERANCE = 1e-4
"""Largest difference of two forms' results, each divided by its largest magnitude."""

PAD = (1, 1)
Forms = dict[str, Callable[..., Any]]


def operations(options: Options) -> list[Table]:
    """Let the forms of every operation take turns, the halves of the model, and two ways to allocate memory."""
    sets = {what: implementations(operands, forms) for what, (operands, forms) in forms_of_operations().items()}
    detector = Detector.from_pretrained(options.weights)
    wave, span = noise(BATCH, detector.window), np.array([[0, detector.window]] * BATCH, np.int32)
    frames = detector.encode(wave, span)
    # These are two halves and not two forms: their results are not to be equal.
    halves = {"encoder": lambda: detector.encode(wave, span), "graph part": lambda: detector.classify(frames)}
    sets["model"] = {name: Implementation(partial(_without_result, half)) for name, half in halves.items()}
    with contextlib.ExitStack() as stack:
        sets["training step, memory"] = steps = {}
        for name, keep in {"malloc as it comes": False, "memory kept, huge pages": True}.items():
            own: Any = {"keep_memory": keep, "weights": options.weights, "batch": BATCH}
            process = stack.enter_context(child(name, "jax_programs.py:training_step", **own))
            steps[name] = Implementation(process.call, TOLERANCE)
        turns = {what: take_turns(what, forms, rounds=options.rounds, compared=1) for what, forms in sets.items()}
    rows = [(what, BATCH, timing) for what, found in turns.items() for timing in found]
    return [timing_table("operations, speed times the first of its kind", rows)]


def _without_result(call: Callable[[], Any]) -> np.ndarray:
    call()
    return np.zeros(1)


def implementations(operands: tuple[jax.Array, ...], forms: Forms) -> dict[str, Implementation]:
    """Compile every form, those with XLA in their name without our C++ kernels; samples of the results are compared."""
    scales: list[float] = []

    def make(name: str, form: Callable[..., Any]) -> Implementation:
        # A function of its own for each name: `jit` would share what it traced for one form with another.
        run = jax.jit(lambda *operands: form(*operands))

        def samples() -> np.ndarray:
            with choice.xla_only() if "XLA" in name else contextlib.nullcontext():
                results = jax.block_until_ready(run(*operands))
            compared = results["compared"] if isinstance(results, dict) else results
            found = [np.asarray(leaf).ravel()[:: 1 + leaf.size // 1000] for leaf in jax.tree.leaves(compared)]
            scales.extend([] if scales else [float(np.abs(sample).max()) for sample in found])
            return np.concatenate([sample / scale for sample, scale in zip(found, scales, strict=True)])

        return Implementation(samples, TOLERANCE)

    return {name: make(name, form) for name, form in forms.items() if "C++" not in name or choice.native_kernels()}


def forms_of_operations() -> dict[str, tuple[tuple[jax.Array, ...], Forms]]:
    """The operands and the forms of every operation."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(0, 1, shape), jnp.float32)

    c, (one, two) = CHANNELS, STEPS
    image, large, small = draw(BATCH, ROWS, one, 1), draw(BATCH, ROWS + 1, one, c), draw(BATCH, ROWS, two, c)
    first, square, shortcut = 0.3 * draw(2, 3, 1, c), 0.1 * draw(2, 3, c, c), 0.3 * draw(3, 1, c)
    scale, bias, mean, var, back = draw(c), draw(c), draw(c), 1 + draw(c) ** 2, draw(BATCH, ROWS + 1, two, c)
    spans = [jnp.tile(jnp.array([[0, steps]], jnp.int32), (BATCH, 1)) for steps in STEPS]
    block1 = (image, spans[0], first, bias, square, bias, shortcut)
    block2 = (small, spans[1], square, bias, square, bias, jnp.zeros((0, c, c)))
    end = (large, image, square, bias, shortcut, draw(BATCH, ROWS, one // 3, c))
    blocks = [partial(_evaluate, form, mean, var, scale) for form in (None, evaluate_block, evaluate_block)]
    ends = [partial(_end, form) for form in (_end_with_window, activate_merge_and_pool, activate_merge_and_pool)]
    layers, product = (partial(_front_end, form) for form in (_magnitude_by_layers, pooled_sinc_magnitude))
    of_kernel = _gradients(1, lambda k, x: conv2d(x, k, bias, PAD))
    of_input, of_both = (_gradients(n, lambda x, k: conv2d(x, k, bias, PAD)) for n in (1, 2))
    plain_kernel = _gradients(1, lambda k, x: _plain_convolution(x, k))
    plain_input, plain_both = (_gradients(n, _plain_convolution) for n in (1, 2))
    plain_norm = _gradients(1, lambda x: normalize(x, scale, bias, x.mean((0, 1, 2)), x.var((0, 1, 2))))
    norm = _gradients(1, lambda x: normalize_by_batch(x, scale, bias, None)[0])
    stored = _gradients(2, lambda x, k: normalize_by_batch(conv2d(x, k, bias, PAD), scale, bias, None)[0])
    again = _gradients(2, lambda x, k: normalize_convolution_by_batch(x, k, bias, scale, bias, PAD, None)[0])
    block, front = "XLA, batch norm apart; XLA, batch norm folded; C++", "XLA, layers; XLA, one product; C++"
    kernel, one_channel = "XLA's own; XLA, matrix products; C++", "XLA's own; XLA, sums and products"
    norms, both = "XLA, automatic gradient; XLA, written out", "convolution and batch norm"
    first_layers = "XLA, stored; C++, stored; C++, computed again"
    found = [
        ("SELU, block 1", (large,), "XLA, expm1; XLA, exp - 1", (jax.nn.selu, selu)),
        ("front-end", (0.1 * draw(BATCH, 3 * one + 130),), front, (layers, product, product)),
        ("block 1, evaluation", block1, block, blocks),
        ("block 2, evaluation", block2, block, blocks),
        ("kernel gradient, block 2", (square, small, back), kernel, (plain_kernel, of_kernel, of_kernel)),
        ("one-channel convolution, block 1", (image, first, large), one_channel, (plain_both, of_both)),
        ("convolution's input gradient, block 2", (small, square, back), "XLA; C++", (plain_input, of_input)),
        ("batch norm, forward and back, block 2", (back, back[::-1]), norms, (plain_norm, norm)),
        (f"{both}, forward and back, block 1", (image, first, large), first_layers, (stored, stored, again)),
        ("end of block 1, forward and back", end, "XLA, windowed pool; XLA, byte pool; C++", ends),
    ]
    return {what: (operands, dict(zip(names.split("; "), ways, strict=True))) for what, operands, names, ways in found}


def _gradients(count: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Gradients of a function for its first `count` operands; the last operand is the gradient of its result."""

    def form(*operands: jax.Array) -> Any:
        *inputs, gradient = operands
        return jax.vjp(lambda *varied: function(*varied, *inputs[count:]), *inputs[:count])[1](gradient)

    return form


def _plain_convolution(x: jax.Array, kernel: jax.Array, padding: tuple[int, int] = PAD) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), [(p, p) for p in padding], dimension_numbers=layout)


def _front_end(magnitude: Callable[..., Any], wave: jax.Array) -> jax.Array:
    return selu(magnitude(wave, jnp.asarray(sinc_filters(70, 128))[None]))


def _magnitude_by_layers(wave: jax.Array, bank: jax.Array) -> jax.Array:
    x = jnp.abs(sinc_convolution(wave, bank[0]))
    batch, t, f = x.shape
    return x[:, : t // 3 * 3, : f // 3 * 3].reshape(batch, t // 3, 3, f // 3, 3).max((2, 4)).swapaxes(1, 2)


def _evaluate(block: Any, mean: Any, var: Any, scale: Any, *operands: Any) -> Any:
    # With batch norm folded into the convolution before it, or, without a form of the block, by itself.
    x, valid, kernel1, bias1, kernel2, bias2, shortcut = operands
    if block is not None:
        factor = scale * jax.lax.rsqrt(var + 1e-5)
        return block(x, valid, kernel1 * factor.reshape(1, 1, 1, -1), (bias1 - mean) * factor + bias1, *operands[4:])
    y = normalize(_plain_convolution(x, kernel1) + bias1.reshape(1, 1, 1, -1), scale, bias1, mean, var)
    z = _plain_convolution(selu(y), kernel2, (0, 1)) + bias2.reshape(1, 1, 1, -1)
    return max_pool_time(z + (_plain_convolution(x, shortcut[None], (0, 1)) if len(shortcut) else x))


def _end(end: Callable[..., jax.Array], *operands: jax.Array) -> dict[str, Any]:
    pooled, pullback = jax.vjp(end, *operands[:-1])
    gradients = pullback(operands[-1])
    # Which of nearly equal steps a pool takes is decided by rounding, and moves the gradients but for the bias's.
    return {"compared": (pooled, gradients[3]), "others": gradients}


def _end_with_window(a: jax.Array, *operands: jax.Array) -> jax.Array:
    window = (1, 1, 3, 1)
    return jax.lax.reduce_window(merge(selu(a), *operands), -jnp.inf, jax.lax.max, window, window, "VALID")
