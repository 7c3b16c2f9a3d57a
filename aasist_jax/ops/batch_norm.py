"""Batch normalisation over every axis but the last, with a backward pass that reads its input only twice."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.ops import choice, convolution
from aasist_jax.ops.native import kernels

BATCH_NORM_EPSILON = 1e-5

PerChannel = Float[Array, " c"]
"""One number for each channel."""

Moments = tuple[PerChannel, PerChannel, Int[Array, ""]]


def _moments(x: Array) -> tuple[Array, Array]:
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, jnp.square(x - _lead(mean, x)).sum(axes)


def _join(mean: Array, squared_deviations: Array, values: int, axis_name: str | None) -> Moments:
    """Mean, biased variance and number of values per channel, over all devices of `axis_name` if given.

    The variance is computed from deviations from the mean, because E[x^2] - E[x]^2 loses digits in float32. Devices are
    combined by the formula of Chan, Golub & LeVeque (1983).
    """
    n = jnp.asarray(values, jnp.int32)
    if axis_name is not None:
        own, own_mean = n.astype(mean.dtype), mean
        n = jax.lax.psum(n, axis_name)
        mean = jax.lax.psum(own * own_mean, axis_name) / n.astype(mean.dtype)
        squared_deviations = jax.lax.psum(squared_deviations + own * jnp.square(own_mean - mean), axis_name)
    return mean, squared_deviations / n.astype(mean.dtype), n


def _mean_sums(sums: tuple[Array, Array], n: Array, axis_name: str | None) -> tuple[Array, Array]:
    # The statistics span all devices, so the input of each device affects the output of every device.
    sum_g, sum_product = sums if axis_name is None else jax.lax.psum(sums, axis_name)
    return sum_g / n.astype(sum_g.dtype), sum_product / n.astype(sum_g.dtype)


def normalize(
    x: Float[Array, "*batch c"], scale: PerChannel, bias: PerChannel, mean: PerChannel, var: PerChannel
) -> Float[Array, "*batch c"]:
    """(x - mean) / sqrt(var + epsilon) * scale + bias."""
    factor = scale * jax.lax.rsqrt(var + BATCH_NORM_EPSILON)
    return (x - _lead(mean, x)) * _lead(factor, x) + _lead(bias, x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalize_by_batch(
    x: Float[Array, "*batch c"], scale: PerChannel, bias: PerChannel, axis_name: str | None
) -> tuple[Float[Array, "*batch c"], PerChannel, PerChannel, Int[Array, ""]]:
    """`normalize` by the statistics of the batch; also returns the statistics, which have no gradient.

    The gradient is written out (Ioffe & Szegedy, 2015): it reads the input and the output's gradient once for two sums
    and once for the result. Automatic differentiation of the statistics reads them more often.

    Returns:
        The result; mean, biased variance and number of values per channel, over all devices of `axis_name` if given.
    """
    mean, var, n = _join(*_moments(x), x.size // x.shape[-1], axis_name)
    return normalize(x, scale, bias, mean, var), mean, var, n


def _forward(
    x: Array, scale: Array, bias: Array, axis_name: str | None
) -> tuple[tuple[Array, Array, Array, Array], tuple[Array, ...]]:
    y, mean, var, n = normalize_by_batch(x, scale, bias, axis_name)
    return (y, mean, var, n), (x, scale, mean, var, n)


def _backward(
    axis_name: str | None, residuals: tuple[Array, ...], cotangents: tuple[Any, ...]
) -> tuple[Array, Array, Array]:
    x, scale, mean, var, n = residuals
    g = cotangents[0]
    inverse = jax.lax.rsqrt(var + BATCH_NORM_EPSILON)
    sums = _gradient_sums(x, g, mean, inverse)
    dx = _input_gradient(x, g, mean, inverse, scale * inverse, *_mean_sums(sums, n, axis_name))
    return dx, sums[1], sums[0]


normalize_by_batch.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def normalize_convolution_by_batch(
    x: Float[Array, "batch f t 1"],
    kernel: Float[Array, "h w 1 c"],
    kernel_bias: PerChannel,
    scale: PerChannel,
    bias: PerChannel,
    padding: kernels.Padding,
    axis_name: str | None,
) -> tuple[Float[Array, "batch f2 t2 c"], PerChannel, PerChannel, Int[Array, ""]]:
    """`normalize_by_batch` of a convolution with one input channel and bias.

    The output of the convolution is recomputed in the backward pass: a few products per value take less time than
    writing it to memory and reading it back.
    """
    xla = functools.partial(_of_convolution, _moments, padding=padding)
    native = functools.partial(kernels.one_channel_moments, padding=padding)
    operands = (x, kernel, kernel_bias)
    means, squared_deviations = choice.choose(
        *operands, native=native, xla=xla, suits=convolution.suits_one_channel(kernel, padding)
    )
    y = convolution.convolve_and_add(*operands, padding)
    mean, var, n = _join(means, squared_deviations, y.size // y.shape[-1], axis_name)
    return normalize(y, scale, bias, mean, var), mean, var, n


def _convolution_forward(
    x: Array,
    kernel: Array,
    kernel_bias: Array,
    scale: Array,
    bias: Array,
    padding: kernels.Padding,
    axis_name: str | None,
) -> tuple[tuple[Array, Array, Array, Array], tuple[Array, ...]]:
    results = normalize_convolution_by_batch(x, kernel, kernel_bias, scale, bias, padding, axis_name)
    return results, (x, kernel, kernel_bias, scale, *results[1:])


def _convolution_backward(
    padding: kernels.Padding, axis_name: str | None, residuals: tuple[Array, ...], cotangents: tuple[Any, ...]
) -> tuple[Array, ...]:
    x, kernel, kernel_bias, scale, mean, var, n = residuals
    inverse = jax.lax.rsqrt(var + BATCH_NORM_EPSILON)
    operands = (x, kernel, kernel_bias, cotangents[0], mean, inverse)
    suits = convolution.suits_one_channel(kernel, padding)
    sums = choice.choose(
        *operands,
        native=functools.partial(kernels.one_channel_gradient_sums, padding=padding),
        xla=functools.partial(_of_convolution, _gradient_sums, padding=padding),
        suits=suits,
    )
    dx, dk, db = choice.choose(
        *operands,
        scale * inverse,
        *_mean_sums(sums, n, axis_name),
        native=functools.partial(kernels.one_channel_normalized_gradients, padding=padding),
        xla=functools.partial(_convolution_gradients, padding=padding),
        suits=suits,
    )
    return dx, dk, db, sums[1], sums[0]


normalize_convolution_by_batch.defvjp(_convolution_forward, _convolution_backward)


def _of_convolution(
    function: Callable[..., Any], x: Array, kernel: Array, bias: Array, *operands: Array, padding: kernels.Padding
) -> Any:
    return function(convolution.convolve_and_add(x, kernel, bias, padding), *operands)


def _convolution_gradients(
    x: Array, kernel: Array, bias: Array, *operands: Array, padding: kernels.Padding
) -> tuple[Array, Array, Array]:
    dy = _of_convolution(_input_gradient, x, kernel, bias, *operands, padding=padding)
    return convolution.one_channel_gradients(x, kernel, dy, padding=padding)


def _gradient_sums(x: Array, g: Array, mean: Array, inverse: Array) -> tuple[Array, Array]:
    axes = tuple(range(x.ndim - 1))
    return g.sum(axes), (g * (x - _lead(mean, x)) * _lead(inverse, x)).sum(axes)


def _input_gradient(
    x: Array, g: Array, mean: Array, inverse: Array, factor: Array, mean_g: Array, mean_product: Array
) -> Array:
    normalized = (x - _lead(mean, x)) * _lead(inverse, x)
    return _lead(factor, x) * (g - _lead(mean_g, x) - normalized * _lead(mean_product, x))


def _lead(values: PerChannel, x: Float[Array, "*batch c"]) -> Array:
    return values.reshape((1,) * (x.ndim - 1) + (-1,))
