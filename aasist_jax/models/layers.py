"""Convolution, linear and batch-norm layers with PyTorch's initialisation and running-statistics rules."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.models.convolution import conv2d

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1


def uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default for convolution and linear layers: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    That is Kaiming-uniform with a = sqrt(5), which PyTorch uses for kernels, and its rule for biases.
    """
    bound = fan_in**-0.5

    def initialize(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize


class Linear(nn.Module):
    """Affine map of the last axis: (..., inputs) -> (..., features)."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch {self.features}"]:
        """Apply the map in `dtype`."""
        init = uniform_fan_in(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        return y + bias.astype(self.dtype).reshape((1,) * (y.ndim - 1) + (-1,))


class Conv(nn.Module):
    """Two-dimensional convolution, channels last, stride 1.

    `padding` counts the zeros on either side of (frequency, time).
    """

    features: int
    kernel_size: tuple[int, int]
    padding: tuple[int, int]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "batch f t c"]) -> Float[Array, "batch f2 t2 {self.features}"]:
        """Convolve in `dtype`."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        init = uniform_fan_in(shape[0] * shape[1] * shape[2])
        kernel = self.param("kernel", init, shape)
        bias = self.param("bias", init, (self.features,))
        y = conv2d(x.astype(self.dtype), kernel.astype(self.dtype), self.padding)
        return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


class BatchNorm(nn.Module):
    """Batch normalisation over every axis but the last, with PyTorch's rules.

    The normalisation uses the biased batch variance, the running variance takes the unbiased one (n / (n - 1)).
    With `axis_name`, statistics are those of the batch over all devices of that axis. Statistics are computed
    in float32 at least, whatever `dtype` is. `count` is PyTorch's `num_batches_tracked`.
    """

    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "*batch c"], *, train: bool) -> Float[Array, "*batch c"]:
        """Normalise by batch statistics and update the running ones (`train`), or by the running ones."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        count = self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32)

        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if train:
            mean, var, n = batch_moments(x, self.axis_name)
            if not self.is_initializing():
                unbiased = var * (n.astype(var.dtype) / jnp.maximum(n - 1, 1).astype(var.dtype))
                running_mean.value = _decay(running_mean.value, mean)
                running_var.value = _decay(running_var.value, unbiased)
                count.value = count.value + 1
        else:
            mean, var = running_mean.value, running_var.value
        factor = scale * jax.lax.rsqrt(var + BATCH_NORM_EPSILON)
        lead = (1,) * (x.ndim - 1) + (-1,)
        y = (x - mean.reshape(lead)) * factor.reshape(lead) + bias.reshape(lead)
        return y.astype(self.dtype)


def batch_moments(
    x: Float[Array, "*batch c"], axis_name: str | None
) -> tuple[Float[Array, " c"], Float[Array, " c"], Int[Array, ""]]:
    """Mean, biased variance and number of values per channel, over all devices of `axis_name` if given.

    Two passes, as the one-pass difference of squares loses digits in float32.
    """
    axes = tuple(range(x.ndim - 1))
    n = jnp.asarray(x.size // x.shape[-1], jnp.int32)
    if axis_name is None:
        mean = x.mean(axes)
        return mean, jnp.square(x - mean.reshape((1,) * len(axes) + (-1,))).mean(axes), n
    n = jax.lax.psum(n, axis_name)
    mean = jax.lax.psum(x.sum(axes), axis_name) / n.astype(x.dtype)
    deviation = x - mean.reshape((1,) * len(axes) + (-1,))
    return mean, jax.lax.psum(jnp.square(deviation).sum(axes), axis_name) / n.astype(x.dtype), n


def _decay(running: Array, batch: Array) -> Array:
    keep = 1 - BATCH_NORM_MOMENTUM
    return (keep * running + BATCH_NORM_MOMENTUM * batch).astype(running.dtype)


def first_max(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Maximum along an axis whose gradient goes to the first of equal values, as in PyTorch.

    `jnp.max` would share the gradient among them.
    """
    index = jax.lax.stop_gradient(jnp.argmax(x, axis, keepdims=True))
    return jnp.take_along_axis(x, index, axis).squeeze(axis)


def max_pool_time(x: Float[Array, "batch f t c"]) -> Float[Array, "batch f t3 c"]:
    """Max-pool time by 3 without overlap, t3 = t // 3; the gradient goes to the first of equal values.

    Two comparisons instead of a windowed reduction, whose gradient XLA turns into a slow select-and-scatter.
    """
    batch, f, t, c = x.shape
    x = x[:, :, : t // 3 * 3].reshape(batch, f, t // 3, 3, c)
    return _later_if_greater(_later_if_greater(x[:, :, :, 0], x[:, :, :, 1]), x[:, :, :, 2])


def _later_if_greater(a: Array, b: Array) -> Array:
    # The second test lets NaN through, as a maximum must.
    return jnp.where((b > a) | jnp.isnan(b), b, a)
