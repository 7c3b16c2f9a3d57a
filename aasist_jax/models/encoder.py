"""The residual encoder of RawNet2 as AASIST uses it: from waveform to a (frequency, time) map."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.models.layers import BatchNorm, Conv, max_pool_time
from aasist_jax.models.sinc import mask_filters, sinc_convolution, sinc_filters, sinc_taps


class FrontEnd(nn.Module):
    """Sinc filters, absolute value, 3 x 3 max-pooling, batch norm and SELU.

    Computed in float32 at least: the waveform's small values and the narrow filters do not bear bfloat16.
    """

    filters: int
    first_conv: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        """Create the batch norm; the filters are fixed."""
        self.bn = BatchNorm(jnp.promote_types(self.dtype, jnp.float32), self.axis_name)

    def __call__(
        self, wave: Float[Array, "batch samples"], *, train: bool, freq_aug: bool
    ) -> Float[Array, "batch f t 1"]:
        """Turn waveforms into one-channel images, f = filters // 3.

        A variable `kept_filters` (batch, filters) in the collection `occlusion`, where there is one, scales the
        filters' outputs: 0 silences a filter.
        """
        wave = wave.astype(jnp.promote_types(self.dtype, jnp.float32))
        bank = jnp.asarray(sinc_filters(self.filters, self.first_conv))
        if train and freq_aug:
            bank = mask_filters(self.make_rng("freq_aug"), bank)
        x = sinc_convolution(wave, bank)
        if self.has_variable("occlusion", "kept_filters"):
            x = x * self.get_variable("occlusion", "kept_filters").astype(x.dtype)[:, None]
        self.sow("stages", "after_sinc", x)
        x = self.bn(_pool_filters_and_time(jnp.abs(x)), train=train)
        self.sow("stages", "after_first_bn", x)
        return nn.selu(x).astype(self.dtype)


def _pool_filters_and_time(x: Float[Array, "batch t f"]) -> Float[Array, "batch f3 t3 1"]:
    batch, t, f = x.shape
    x = x[:, : t // 3 * 3, : f // 3 * 3].reshape(batch, t // 3, 3, f // 3, 3)
    return x.max(axis=(2, 4)).swapaxes(1, 2)[..., None]


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut, then max-pooling of time by 3.

    As published, the first convolution sees the block's raw input: the result of `bn1` and SELU before it is
    thrown away. `bn1` is kept because its running statistics do follow the data and stand in the checkpoints. The first
    block has none.
    """

    features: int
    first: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch f t c"], *, train: bool, valid: Int[Array, "batch 2"] | None = None
    ) -> Float[Array, "batch f t3 d"]:
        """Map (batch, f, t, c) to (batch, f, t // 3, features); `valid` is the span of time steps that are there."""
        if not self.first:
            BatchNorm(self.dtype, self.axis_name, name="bn1")(x, train=train)
        # The (2, 3) kernel with one row of zeros on either side makes f + 1 rows, the second brings back f.
        y = Conv(self.features, (2, 3), (1, 1), self.dtype, name="conv1")(x)
        y = nn.selu(BatchNorm(self.dtype, self.axis_name, name="bn2")(y, train=train))
        y = zero_outside(y, valid)
        y = Conv(self.features, (2, 3), (0, 1), self.dtype, name="conv2")(y)
        if x.shape[-1] != self.features:
            x = Conv(self.features, (1, 3), (0, 1), self.dtype, name="conv_downsample")(x)
        return max_pool_time(x + y)


class Encoder(nn.Module):
    """Front-end and residual blocks.

    `channels` are the output channels of the blocks, in order.
    """

    filters: int
    first_conv: int
    channels: Sequence[int]
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        """Create the front-end and `block1`, `block2`, ..."""
        self.front_end = FrontEnd(self.filters, self.first_conv, self.dtype, self.axis_name)
        self.block = [
            ResidualBlock(features, first=i == 0, dtype=self.dtype, axis_name=self.axis_name, name=f"block{i + 1}")
            for i, features in enumerate(self.channels)
        ]

    def __call__(
        self,
        wave: Float[Array, "batch samples"],
        *,
        train: bool,
        freq_aug: bool,
        valid: Int[Array, "batch 2"] | None = None,
    ) -> Float[Array, "batch f t c"]:
        """Encode waveforms; every block divides time by 3.

        With `valid` a waveform is a piece of a longer recording, of which it holds the samples `valid[0]` to
        `valid[1] - 1`; the rest is filling. Beyond the recording's ends the convolutions then see the zeros that they
        would see if the recording were encoded in one pass. `valid[0]` is a multiple of `encoder_stride`.
        """
        x = self.front_end(wave, train=train, freq_aug=freq_aug)
        if valid is not None:
            valid = (valid - jnp.array([[0, sinc_taps(self.first_conv) - 1]], valid.dtype)) // 3
        x = zero_outside(x, valid)
        for i, block in enumerate(self.block):
            x = block(x, train=train, valid=valid)
            if valid is not None:
                valid = valid // 3
            x = zero_outside(x, valid)
            self.sow("stages", f"after_block{i + 1}", x)
        return x


def zero_outside(x: Float[Array, "batch f t c"], valid: Int[Array, "batch 2"] | None) -> Float[Array, "batch f t c"]:
    """Zero the time steps outside `valid`, first to last but one; None leaves all."""
    if valid is None:
        return x
    time = jnp.arange(x.shape[2], dtype=valid.dtype)[None]
    inside = (time >= valid[:, :1]) & (time < valid[:, 1:])
    return jnp.where(inside[:, None, :, None], x, jnp.zeros((), x.dtype))


def encoder_stride(blocks: int) -> int:
    """Samples from one time step of the encoder's output to the next."""
    return 3 ** (blocks + 1)


def encoded_frames(samples: int, first_conv: int, blocks: int) -> int:
    """Count the time steps that the encoder leaves of `samples`; 0 or less means the input is too short."""
    return (samples - sinc_taps(first_conv) + 1) // encoder_stride(blocks)
