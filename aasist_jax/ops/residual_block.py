"""The residual block of RawNet2: two convolutions and a shortcut, then max-pooling over time by 3."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.ops import choice
from aasist_jax.ops.batch_norm import BATCH_NORM_EPSILON
from aasist_jax.ops.convolution import conv2d, input_gradient
from aasist_jax.ops.native import kernels
from aasist_jax.ops.pooling import largest_of_three, max_pool_time, unpool_time
from aasist_jax.ops.selu import selu, selu_gradient

FoldedBlock = tuple[Float[Array, "..."], ...]


def fold_batch_norm(params: Mapping[str, Any], statistics: Mapping[str, Any], dtype: Any) -> FoldedBlock:
    """Fold `bn2` into the convolution before it and return the parameters for `evaluate_block`.

    Args:
        params: parameters of `conv1`, `bn2`, `conv2` and, if the block has it, `conv_downsample`.
        statistics: running mean and variance of `bn2`.
        dtype: dtype of the result.
    """
    factor = params["bn2"]["scale"] * jax.lax.rsqrt(statistics["var"] + BATCH_NORM_EPSILON)
    conv1, conv2 = params["conv1"], params["conv2"]
    bias1 = (conv1["bias"] - statistics["mean"]) * factor + params["bn2"]["bias"]
    bias2, shortcut = conv2["bias"], jnp.zeros((0, *conv1["kernel"].shape[2:]))
    if "conv_downsample" in params:
        bias2, shortcut = bias2 + params["conv_downsample"]["bias"], params["conv_downsample"]["kernel"][0]
    folded = (conv1["kernel"] * factor.reshape(1, 1, 1, -1), bias1, conv2["kernel"], bias2, shortcut)
    return tuple(jnp.asarray(value, dtype) for value in folded)


def evaluate_block(
    x: Float[Array, "batch f t c"], valid: Int[Array, "batch 2"] | None, *folded: Float[Array, "..."]
) -> Float[Array, "batch f t3 d"]:
    """Compute a residual block in evaluation mode.

    Args:
        x: the input of the block.
        valid: the valid time steps as (start, end), end exclusive; None if all are valid.
        folded: the result of `fold_batch_norm`: kernel and bias of conv1 with batch norm folded in, (2, 3, c, d) and
            (d,); kernel and bias of conv2, with the bias of the shortcut added; kernel of the shortcut, (3, c, d), or
            (0, c, d) for the identity.
    """
    if valid is None:
        valid = jnp.broadcast_to(jnp.array([0, x.shape[2]], jnp.int32), (x.shape[0], 2))
    return _evaluate(x, valid, *folded)


@jax.custom_vjp
def _evaluate(
    x: Float[Array, "batch f t c"], valid: Int[Array, "batch 2"], *folded: Float[Array, "..."]
) -> Float[Array, "batch f t3 d"]:
    suits = x.dtype == jnp.float32
    out: Array = choice.choose(
        x, valid, *folded, native=kernels.residual_block, xla=evaluate_block_by_layers, suits=suits
    )
    return out


def evaluate_block_by_layers(
    x: Array, valid: Array, kernel1: Array, bias1: Array, kernel2: Array, bias2: Array, shortcut: Array
) -> Array:
    """`evaluate_block`, layer by layer."""
    y = zero_outside(selu(conv2d(x, kernel1, bias1, (1, 1))), valid)
    return max_pool_time(merge(y, x, kernel2, bias2, shortcut))


def _evaluate_forward(*operands: Array) -> tuple[Array, tuple[Array, ...]]:
    return _evaluate(*operands), operands


_evaluate.defvjp(_evaluate_forward, lambda operands, g: jax.vjp(evaluate_block_by_layers, *operands)[1](g))


def merge(
    y: Float[Array, "batch f2 t d"],
    x: Float[Array, "batch f t c"],
    kernel: Float[Array, "2 3 d e"],
    bias: Float[Array, " e"],
    shortcut: Float[Array, "taps c e"],
) -> Float[Array, "batch f t e"]:
    """conv2 of y plus the shortcut of x: a convolution with 3 taps, or the identity if `shortcut` has no taps."""
    z = conv2d(y, kernel, bias, (0, 1))
    if not shortcut.shape[0]:
        return z + x
    return z + conv2d(x, shortcut[None], jnp.zeros_like(bias), (0, 1))


@jax.custom_vjp
def activate_merge_and_pool(a: Array, x: Array, kernel: Array, bias: Array, shortcut: Array) -> Array:
    """Apply SELU to a, then `merge`, then max-pooling over time by 3. The gradient does not need the sum to be stored.

    `a` is float32 or wider; its SELU is cast to the type of the other operands.
    """
    return max_pool_time(merge(selu(a).astype(x.dtype), x, kernel, bias, shortcut))


def _end_forward(a: Array, *operands: Array) -> tuple[Array, tuple[Array, ...]]:
    y = selu(a).astype(operands[0].dtype)
    pooled, index = choice.choose(
        y, *operands, native=kernels.pooled_convolution, xla=lambda *operands: largest_of_three(merge(*operands))
    )
    return pooled, (y, *operands, index)


def _end_backward(residuals: tuple[Array, ...], g: Array) -> tuple[Array, ...]:
    y, x, kernel, _, shortcut, _ = residuals
    da, *gradients = choice.choose(
        *residuals,
        g,
        native=_end_gradients,
        xla=end_gradients_by_layers,
        suits=g.size > 0 and (shortcut.shape[0] == 0 or x.shape[-1] > 1 or kernel.shape[-1] % kernels.LANES == 0),
    )
    return da.astype(jnp.promote_types(y.dtype, jnp.float32)), *gradients


activate_merge_and_pool.defvjp(_end_forward, _end_backward)


def end_gradients_by_layers(
    y: Array, x: Array, kernel: Array, bias: Array, shortcut: Array, index: Array, g: Array
) -> tuple[Array, ...]:
    """Gradients of `activate_merge_and_pool` with respect to its operands, layer by layer; y is SELU of a."""
    _, pullback = jax.vjp(merge, y, x, kernel, bias, shortcut)
    dy, *others = pullback(unpool_time(index, g, steps=x.shape[2]))
    return selu_gradient(y, dy), *others


def _end_gradients(
    y: Array, x: Array, kernel: Array, bias: Array, shortcut: Array, index: Array, g: Array
) -> tuple[Array, ...]:
    steps = x.shape[2]
    da = kernels.pooled_input_gradient(index, g, kernel, y)
    dk, db = kernels.kernel_gradient(y, g, index, height=2, pad_rows=0)
    if not shortcut.shape[0]:
        return da, kernels.unpool_time(index, g, steps=steps), dk, db, shortcut
    if x.shape[-1] == 1:
        dx, ds = kernels.pooled_shortcut_gradients(x, shortcut, index, g)
        return da, dx, dk, db, ds
    dx = input_gradient(kernels.unpool_time(index, g, steps=steps), shortcut[None], (0, 1))
    ds, _ = kernels.kernel_gradient(x, g, index, height=1, pad_rows=0)
    return da, dx, dk, db, ds[0]


def zero_outside(x: Float[Array, "batch f t c"], valid: Int[Array, "batch 2"] | None) -> Float[Array, "batch f t c"]:
    """Zero the time steps outside `valid` (start, end), end exclusive; None keeps all."""
    if valid is None:
        return x
    time = jnp.arange(x.shape[2], dtype=valid.dtype)[None]
    inside = (time >= valid[:, :1]) & (time < valid[:, 1:])
    return jnp.where(inside[:, None, :, None], x, jnp.zeros((), x.dtype))
