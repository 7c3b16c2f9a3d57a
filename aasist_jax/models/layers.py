"""Convolution, linear and batch-norm layers with PyTorch's initialisation and running-statistics rules."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aasist_jax.models.batch_statistics import BATCH_NORM_MOMENTUM
from aasist_jax.ops.batch_norm import normalize, normalize_by_batch, normalize_convolution_by_batch
from aasist_jax.ops.convolution import conv2d
from aasist_jax.ops.selu import selu


@functools.cache
def uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default for convolution and linear layers: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    This equals Kaiming-uniform with a = sqrt(5), PyTorch's rule for kernels; biases use the same bound.
    """
    bound = fan_in**-0.5

    def initialize(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize


def xavier_normal(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
    """PyTorch's Xavier-normal initialisation for a matrix."""
    return jax.random.normal(key, shape, dtype) * (2 / (shape[0] + shape[1])) ** 0.5


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

    `padding` is the number of zeros on either side along (frequency, time).
    """

    features: int
    kernel_size: tuple[int, int]
    padding: tuple[int, int]
    dtype: Any = jnp.float32

    @nn.compact
    def parameters(self, channels: int) -> tuple[Float[Array, "h w c d"], Float[Array, " d"]]:
        """Kernel and bias for an input with `channels` channels, in `dtype`."""
        shape = (*self.kernel_size, channels, self.features)
        init = uniform_fan_in(shape[0] * shape[1] * shape[2])
        kernel = self.param("kernel", init, shape)
        bias = self.param("bias", init, (self.features,))
        return jnp.asarray(kernel, self.dtype), jnp.asarray(bias, self.dtype)

    def __call__(self, x: Float[Array, "batch f t c"]) -> Float[Array, "batch f2 t2 {self.features}"]:
        """Convolve in `dtype`."""
        return conv2d(x.astype(self.dtype), *self.parameters(x.shape[-1]), self.padding)


class BatchNorm(nn.Module):
    """Batch normalisation over every axis but the last, with PyTorch's rules.

    The normalisation uses the biased batch variance; the running variance uses the unbiased one (n / (n - 1)). With
    `axis_name`, the statistics are those of the batch over all devices of that axis. They are computed in float32 or
    wider, whatever `dtype` is. `count` is PyTorch's `num_batches_tracked`. With `activate`, SELU is applied afterwards.
    """

    dtype: Any = jnp.float32
    axis_name: str | None = None
    activate: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "*batch c"], conv: Conv | None = None, *, train: bool) -> Float[Array, "*out d"]:
        """Normalise x or, if `conv` is given, the convolution of x.

        In training mode, normalise with the batch statistics and update the running ones; otherwise with the running
        ones.
        """
        channels = x.shape[-1] if conv is None else conv.features
        scale = jnp.asarray(self.param("scale", nn.initializers.ones, (channels,)))
        bias = jnp.asarray(self.param("bias", nn.initializers.zeros, (channels,)))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        count = self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32)

        # Batch norm computes in float32 or wider, so a convolution in a narrower type cannot be fused with it.
        exact = conv is not None and jnp.promote_types(conv.dtype, jnp.float32) == conv.dtype
        fused = conv if train and exact and x.shape[-1] == 1 else None
        if conv is not None and fused is None:
            x = conv(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if train:
            if fused is not None:
                y, mean, var, n = normalize_convolution_by_batch(
                    x.astype(fused.dtype), *fused.parameters(1), scale, bias, fused.padding, self.axis_name
                )
            else:
                y, mean, var, n = normalize_by_batch(x, scale, bias, self.axis_name)
            if not self.is_initializing():
                unbiased = var * (n.astype(var.dtype) / jnp.maximum(n - 1, 1).astype(var.dtype))
                running_mean.value = _decay(running_mean.value, mean)
                running_var.value = _decay(running_var.value, unbiased)
                count.value = count.value + 1
        else:
            y = normalize(x, scale, bias, jnp.asarray(running_mean.value), jnp.asarray(running_var.value))
        return (selu(y) if self.activate else y).astype(self.dtype)


def _decay(running: Array, batch: Array) -> Array:
    keep = 1 - BATCH_NORM_MOMENTUM
    return (keep * running + BATCH_NORM_MOMENTUM * batch).astype(running.dtype)
