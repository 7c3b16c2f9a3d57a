"""The residual encoder of RawNet2 as AASIST uses it: from waveform to a (frequency, time) map."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.models.activation import selu, selu_gradient
from aasist_jax.models.batch_norm import BATCH_NORM_EPSILON
from aasist_jax.models.convolution import conv2d, input_gradient
from aasist_jax.models.layers import BatchNorm, Conv
from aasist_jax.models.pooling import largest_of_three, max_pool_time, unpool_time
from aasist_jax.models.sinc import (
    mask_filters,
    pooled_sinc_magnitude,
    sinc_convolution,
    sinc_filters,
    sinc_taps,
)
from aasist_jax.native import operations

FoldedBlock = tuple[Float[Array, "..."], ...]


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
        self.sow("stages", "after_sinc", sinc_convolution(wave, bank))
        banks = bank[None]
        if self.has_variable("occlusion", "kept_filters"):
            banks = banks * self.get_variable("occlusion", "kept_filters").astype(bank.dtype)[..., None]
        x = self.bn(pooled_sinc_magnitude(wave, banks)[..., None], train=train)
        self.sow("stages", "after_first_bn", x)
        return selu(x).astype(self.dtype)


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
        if not train and self.dtype != jnp.bfloat16 and not self.is_initializing():
            return evaluate_block(x.astype(self.dtype), _span(x, valid), *self._folded())
        if not self.first:
            BatchNorm(self.dtype, self.axis_name, name="bn1")(x, train=train)
        # The (2, 3) kernel with one row of zeros on either side makes f + 1 rows, the second brings back f.
        conv1 = Conv(self.features, (2, 3), (1, 1), self.dtype, name="conv1")
        # SELU takes float32 at least: exp(x) - 1 in bfloat16 would leave little of small values.
        bn2 = BatchNorm(jnp.promote_types(self.dtype, jnp.float32), self.axis_name, name="bn2")
        a = bn2(x, conv1, train=train)
        kernel, bias = Conv(self.features, (2, 3), (0, 1), self.dtype, name="conv2").parameters(self.features)
        shortcut = jnp.zeros((0, x.shape[-1], self.features), self.dtype)
        if x.shape[-1] != self.features:
            downsample = Conv(self.features, (1, 3), (0, 1), self.dtype, name="conv_downsample")
            (shortcut,), shortcut_bias = downsample.parameters(x.shape[-1])
            bias = bias + shortcut_bias
        return activate_merge_and_pool(zero_outside(a, valid), x, kernel, bias, shortcut)

    def _folded(self) -> FoldedBlock:
        """The parameters in evaluation mode, where a batch norm is part of the convolution before it."""
        params, stats = self.variables["params"], self.variables["batch_stats"]["bn2"]
        factor = params["bn2"]["scale"] * jax.lax.rsqrt(stats["var"] + BATCH_NORM_EPSILON)
        conv1, conv2 = params["conv1"], params["conv2"]
        bias1 = (conv1["bias"] - stats["mean"]) * factor + params["bn2"]["bias"]
        bias2, shortcut = conv2["bias"], jnp.zeros((0, *conv1["kernel"].shape[2:]))
        if "conv_downsample" in params:
            bias2, shortcut = bias2 + params["conv_downsample"]["bias"], params["conv_downsample"]["kernel"][0]
        folded = (conv1["kernel"] * factor.reshape(1, 1, 1, -1), bias1, conv2["kernel"], bias2, shortcut)
        return tuple(jnp.asarray(value, self.dtype) for value in folded)


@jax.custom_vjp
def evaluate_block(
    x: Float[Array, "batch f t c"], valid: Int[Array, "batch 2"], *folded: Float[Array, "..."]
) -> Float[Array, "batch f t3 d"]:
    """A residual block in evaluation mode.

    Args:
        x: its input.
        valid: the span of time steps that are there.
        folded: kernel and bias of conv1 with batch norm folded in, (2, 3, c, d) and (d,); those of conv2, with the
            shortcut's bias; kernel of the shortcut (3, c, d), or (0, c, d) where it is the identity.
    """
    suits = x.dtype == jnp.float32
    out: Array = operations.choose(
        x, valid, *folded, native=operations.residual_block, xla=evaluate_block_by_layers, suits=suits
    )
    return out


def evaluate_block_by_layers(
    x: Array, valid: Array, kernel1: Array, bias1: Array, kernel2: Array, bias2: Array, shortcut: Array
) -> Array:
    """`evaluate_block`, layer by layer."""
    y = zero_outside(selu(conv2d(x, kernel1, bias1, (1, 1))), valid)
    return max_pool_time(merge(y, x, kernel2, bias2, shortcut))


def _evaluate_forward(*operands: Array) -> tuple[Array, tuple[Array, ...]]:
    return evaluate_block(*operands), operands


evaluate_block.defvjp(_evaluate_forward, lambda operands, g: jax.vjp(evaluate_block_by_layers, *operands)[1](g))


def merge(
    y: Float[Array, "batch f2 t d"],
    x: Float[Array, "batch f t c"],
    kernel: Float[Array, "2 3 d e"],
    bias: Float[Array, " e"],
    shortcut: Float[Array, "taps c e"],
) -> Float[Array, "batch f t e"]:
    """conv2 of y, plus the shortcut of x: a convolution of 3 taps, or of none: the identity."""
    z = conv2d(y, kernel, bias, (0, 1))
    if not shortcut.shape[0]:
        return z + x
    return z + conv2d(x, shortcut[None], jnp.zeros_like(bias), (0, 1))


@jax.custom_vjp
def activate_merge_and_pool(a: Array, x: Array, kernel: Array, bias: Array, shortcut: Array) -> Array:
    """SELU of a, `merge`, max-pooled over time by 3, with a gradient in which the sum need not be stored.

    a is float32 at least; its SELU is brought to the type of the others.
    """
    return max_pool_time(merge(selu(a).astype(x.dtype), x, kernel, bias, shortcut))


def _end_forward(a: Array, *operands: Array) -> tuple[Array, tuple[Array, ...]]:
    y = selu(a).astype(operands[0].dtype)
    pooled, index = operations.choose(
        y, *operands, native=operations.pooled_convolution, xla=lambda *operands: largest_of_three(merge(*operands))
    )
    return pooled, (y, *operands, index)


def _end_backward(residuals: tuple[Array, ...], g: Array) -> tuple[Array, ...]:
    y, x, kernel, _, shortcut, _ = residuals
    da, *gradients = operations.choose(
        *residuals,
        g,
        native=_end_gradients,
        xla=end_gradients_by_layers,
        suits=g.size > 0 and (shortcut.shape[0] == 0 or x.shape[-1] > 1 or kernel.shape[-1] % operations.LANES == 0),
    )
    return da.astype(jnp.promote_types(y.dtype, jnp.float32)), *gradients


activate_merge_and_pool.defvjp(_end_forward, _end_backward)


def end_gradients_by_layers(
    y: Array, x: Array, kernel: Array, bias: Array, shortcut: Array, index: Array, g: Array
) -> tuple[Array, ...]:
    """Gradients of `activate_merge_and_pool` for its five operands, through the gradient of the sum; y is SELU of a."""
    _, pullback = jax.vjp(merge, y, x, kernel, bias, shortcut)
    dy, *others = pullback(unpool_time(index, g, steps=x.shape[2]))
    return selu_gradient(y, dy), *others


def _end_gradients(
    y: Array, x: Array, kernel: Array, bias: Array, shortcut: Array, index: Array, g: Array
) -> tuple[Array, ...]:
    steps = x.shape[2]
    da = operations.pooled_input_gradient(index, g, kernel, y)
    dk, db = operations.kernel_gradient(y, g, index, height=2, pad_rows=0)
    if not shortcut.shape[0]:
        return da, operations.unpool_time(index, g, steps=steps), dk, db, shortcut
    if x.shape[-1] == 1:
        dx, ds = operations.pooled_shortcut_gradients(x, shortcut, index, g)
        return da, dx, dk, db, ds
    dx = input_gradient(operations.unpool_time(index, g, steps=steps), shortcut[None], (0, 1))
    ds, _ = operations.kernel_gradient(x, g, index, height=1, pad_rows=0)
    return da, dx, dk, db, ds[0]


def _span(x: Array, valid: Int[Array, "batch 2"] | None) -> Int[Array, "batch 2"]:
    return jnp.broadcast_to(jnp.array([0, x.shape[2]], jnp.int32), (x.shape[0], 2)) if valid is None else valid


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
