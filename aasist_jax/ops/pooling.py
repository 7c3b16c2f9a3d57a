"""Maxima whose gradient goes to the first of equal values, as in PyTorch, without XLA's windowed reductions."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from aasist_jax.ops import choice
from aasist_jax.ops.native import kernels


def first_max(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Maximum along an axis whose gradient goes to the first of equal values, as in PyTorch.

    `jnp.max` would share the gradient among them.
    """
    index = jax.lax.stop_gradient(jnp.argmax(x, axis, keepdims=True))
    return jnp.take_along_axis(x, index, axis).squeeze(axis)


@jax.custom_vjp
def max_pool_time(x: Float[Array, "batch f t c"]) -> Float[Array, "batch f t3 c"]:
    """Max-pool over time by 3 without overlap, t3 = t // 3; the gradient goes to the first of equal values.

    XLA turns the gradient of a windowed reduction into a slow select-and-scatter. Here the forward pass stores the
    index of the largest of the three values in one byte, and the backward pass reads nothing else.
    """
    first, second, third = _thirds(x)
    return jnp.maximum(jnp.maximum(first, second), third)


def largest_of_three(
    x: Float[Array, "batch f t c"],
) -> tuple[Float[Array, "batch f t3 c"], UInt8[Array, "batch f t3 c"]]:
    """`max_pool_time`, and the index of the largest of the three values: 0, 1 or 2."""
    first, second, third = _thirds(x)
    largest = _later_if_greater(first, second)
    index = jnp.where(_is_later(first, second), jnp.uint8(1), jnp.uint8(0))
    index = jnp.where(_is_later(largest, third), jnp.uint8(2), index)
    return _later_if_greater(largest, third), index


def _pool(x: Array) -> tuple[Array, tuple[Array, Array]]:
    pooled, index = largest_of_three(x)
    # The slice only passes on the number of time steps.
    return pooled, (index, x[:1, :1, :, :1])


def _unpool(residuals: tuple[Array, Array], g: Float[Array, "batch f t3 c"]) -> tuple[Float[Array, "batch f t c"]]:
    index, shape = residuals
    steps = shape.shape[2]
    native = functools.partial(kernels.unpool_time, steps=steps)
    return (choice.choose(index, g, native=native, xla=functools.partial(unpool_time, steps=steps)),)


def unpool_time(
    index: UInt8[Array, "batch f t3 c"], g: Float[Array, "batch f t3 c"], *, steps: int
) -> Float[Array, "batch f {steps} c"]:
    """Put each value at the one of its three time steps that `index` gives, and zeros at the others."""
    batch, f, t3, c = g.shape
    place = jnp.arange(3, dtype=jnp.uint8).reshape(1, 1, 1, 3, 1)
    dx = jnp.where(index[:, :, :, None] == place, g[:, :, :, None], jnp.zeros((), g.dtype))
    return jnp.pad(dx.reshape(batch, f, 3 * t3, c), ((0, 0), (0, 0), (0, steps - 3 * t3), (0, 0)))


max_pool_time.defvjp(_pool, _unpool)


def _thirds(x: Float[Array, "batch f t c"]) -> tuple[Array, Array, Array]:
    batch, f, t, c = x.shape
    x = x[:, :, : t // 3 * 3].reshape(batch, f, t // 3, 3, c)
    return x[:, :, :, 0], x[:, :, :, 1], x[:, :, :, 2]


def _is_later(a: Array, b: Array) -> Array:
    # The second condition propagates NaN, as a maximum must.
    return (b > a) | jnp.isnan(b)


def _later_if_greater(a: Array, b: Array) -> Array:
    return jnp.where(_is_later(a, b), b, a)
