"""Batch normalisation over every axis but the last, SELU behind it or not, with a backward pass of two readings."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.models.activation import selu, selu_gradient
from aasist_jax.native import operations

BATCH_NORM_EPSILON = 1e-5

Moments = tuple[Float[Array, " c"], Float[Array, " c"], Int[Array, ""]]


def batch_moments(x: Float[Array, "*batch c"], axis_name: str | None) -> Moments:
    """Mean, biased variance and number of values per channel, over all devices of `axis_name` if given.

    Deviations are taken from a mean, as the difference of squares loses digits in float32; those of several devices are
    joined as Chan, Golub & LeVeque (1983) do.
    """
    n = jnp.asarray(x.size // x.shape[-1], jnp.int32)
    mean, squares = operations.choose(x, native=operations.batch_moments, xla=_moments, suits=_suits(x))
    if axis_name is not None:
        own, own_mean = n.astype(x.dtype), mean
        n = jax.lax.psum(n, axis_name)
        mean = jax.lax.psum(own * own_mean, axis_name) / n.astype(x.dtype)
        squares = jax.lax.psum(squares + own * jnp.square(own_mean - mean), axis_name)
    return mean, squares / n.astype(x.dtype), n


def _moments(x: Array) -> tuple[Array, Array]:
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, jnp.square(x - _lead(mean, x)).sum(axes)


def normalize(
    x: Float[Array, "*batch c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    mean: Float[Array, " c"],
    var: Float[Array, " c"],
    *,
    activate: bool,
) -> Float[Array, "*batch c"]:
    """(x - mean) / sqrt(var + epsilon) * scale + bias; then SELU, if `activate`."""
    factor = scale * jax.lax.rsqrt(var + BATCH_NORM_EPSILON)
    y = (x - _lead(mean, x)) * _lead(factor, x) + _lead(bias, x)
    return selu(y) if activate else y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalize_by_batch(
    x: Float[Array, "*batch c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    activate: bool,
    axis_name: str | None,
) -> tuple[Float[Array, "*batch c"], Float[Array, " c"], Float[Array, " c"], Int[Array, ""]]:
    """`normalize` by the statistics of the batch; also returns what `batch_moments` does, which has no gradient.

    The gradient is written out (Ioffe & Szegedy, 2015): one reading of the input and of the output's gradient for two
    sums, one for the result, where automatic differentiation of the statistics takes several.
    """
    mean, var, n = batch_moments(x, axis_name)
    return normalize(x, scale, bias, mean, var, activate=activate), mean, var, n


def _forward(
    x: Array, scale: Array, bias: Array, activate: bool, axis_name: str | None
) -> tuple[tuple[Array, Array, Array, Array], tuple[Array, ...]]:
    y, mean, var, n = normalize_by_batch(x, scale, bias, activate, axis_name)
    return (y, mean, var, n), (x, y, scale, mean, var, n)


def _backward(
    activate: bool, axis_name: str | None, residuals: tuple[Array, ...], cotangents: tuple[Any, ...]
) -> tuple[Array, Array, Array]:
    x, y, scale, mean, var, n = residuals
    dy = cotangents[0]
    inverse = jax.lax.rsqrt(var + BATCH_NORM_EPSILON)

    def choose(*operands: Array, native: Callable[..., Any], xla: Callable[..., Any]) -> Any:
        native, xla = (functools.partial(function, selu=activate) for function in (native, xla))
        return operations.choose(*operands, native=native, xla=xla, suits=_suits(x))

    dbias, dscale = choose(x, y, dy, mean, inverse, native=operations.gradient_sums, xla=_gradient_sums)
    # The statistics are those of all devices, so each device's input moves every device's output.
    all_dbias, all_dscale = (dbias, dscale) if axis_name is None else jax.lax.psum((dbias, dscale), axis_name)
    mean_g, mean_product = (total / n.astype(x.dtype) for total in (all_dbias, all_dscale))
    operands = (x, y, dy, mean, inverse, scale * inverse, mean_g, mean_product)
    return choose(*operands, native=operations.input_gradient, xla=_input_gradient), dscale, dbias


normalize_by_batch.defvjp(_forward, _backward)


def _gradient_sums(x: Array, y: Array, dy: Array, mean: Array, inverse: Array, *, selu: bool) -> tuple[Array, Array]:
    g = selu_gradient(y, dy) if selu else dy
    axes = tuple(range(x.ndim - 1))
    return g.sum(axes), (g * (x - _lead(mean, x)) * _lead(inverse, x)).sum(axes)


def _input_gradient(
    x: Array,
    y: Array,
    dy: Array,
    mean: Array,
    inverse: Array,
    factor: Array,
    mean_g: Array,
    mean_product: Array,
    *,
    selu: bool,
) -> Array:
    g = selu_gradient(y, dy) if selu else dy
    normalized = (x - _lead(mean, x)) * _lead(inverse, x)
    return _lead(factor, x) * (g - _lead(mean_g, x) - normalized * _lead(mean_product, x))


def _suits(x: Float[Array, "*batch c"]) -> bool:
    return x.shape[-1] % operations.LANES == 0


def _lead(values: Float[Array, " c"], x: Float[Array, "*batch c"]) -> Array:
    return values.reshape((1,) * (x.ndim - 1) + (-1,))
