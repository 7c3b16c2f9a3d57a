"""Convolutions over frames or samples. XLA's own are slow for some on a CPU; shifted slices and products are not."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class DilatedConv(nn.Module):
    """A convolution with taps some steps apart, as one matrix product; as many steps, zeros before and after.

    Attributes:
        features: channels that it gives.
        taps: an odd number.
        dilation: steps from tap to tap.
    """

    features: int
    taps: int = 3
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "batch steps channels"]) -> Float[Array, "batch steps {self.features}"]:
        """Give the convolution."""
        reach = self.taps // 2 * self.dilation
        padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0)))
        starts = range(0, 2 * reach + 1, self.dilation)
        return nn.Dense(self.features)(jnp.concatenate([padded[:, s : s + x.shape[1]] for s in starts], axis=2))


class DepthwiseConv(nn.Module):
    """A convolution of each channel by itself; as many steps, zeros before and after.

    Attributes:
        taps: an odd number.
    """

    taps: int = 7

    @nn.compact
    def __call__(self, x: Float[Array, "batch steps channels"]) -> Float[Array, "batch steps channels"]:
        """Give the convolution."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.taps, x.shape[2]))
        total = self.param("bias", nn.initializers.zeros, (1, 1, x.shape[2]))
        padded = jnp.pad(x, ((0, 0), (self.taps // 2, self.taps // 2), (0, 0)))
        for tap in range(self.taps):
            total = total + padded[:, tap : tap + x.shape[1]] * kernel[tap].reshape(1, 1, -1)
        return total


class Upsample(nn.Module):
    """A transposed convolution of a stride and a kernel of twice the stride, as one of two frames and all phases."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch frames channels"]) -> Float[Array, "batch more_frames features"]:
        """Give `stride` frames for each."""
        phases = nn.Conv(self.features * self.stride, (2,), padding=[(1, 1)], use_bias=False, name="taps")(x)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        joined = phases.reshape(x.shape[0], -1, self.features)
        edge = self.stride // 2
        return joined[:, edge : joined.shape[1] - edge] + bias[None, None]
