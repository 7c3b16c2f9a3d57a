"""The network of Distill-MOS: spectrum, convolutions, two batch norms, a transformer, and its predictor of quality.

Stahl and Gamper, 2025, arXiv:2502.05356. What follows the convolutions is that of Tamm et al., 2022 (a predictor of
speech quality on XLS-R). Arrays have channels last: (batch, bin, frame, channel), then (batch, step, feature).
"""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aasist_jax.models.layers import BatchNorm, Linear, uniform_fan_in
from aasist_jax.models.ssl.encoders.distill_mos.config import KERNEL, DistillMOSConfig
from aasist_jax.models.ssl.steps import HiddenStates, Lengths, Positions, Steps, Valid, Waves, before, held, masked

FAINTEST_PEAK = 1e-8
FAINTEST_BIN = 1e-12
SLOPE = 0.1
"""Of the LeakyReLU after every convolution."""

LONGEST_PERIOD = 768
"""Base of the positions' frequencies, where other transformers have 10,000."""

EPSILON = 1e-5
"""Of the layer norms; the batch norms have the same."""

LOWEST, HIGHEST = 1.0, 5.0
"""The scale of mean opinion scores."""


def compressed_spectrum(
    waves: Waves, lengths: Lengths, config: DistillMOSConfig
) -> Float[Array, "batch bins frames 2"]:
    """The spectrum of every wave with compressed magnitudes, as real and imaginary part.

    Each wave is divided by its own peak, so the gain has no effect. Its ends are mirrored, at the end of its `lengths`
    where they are given; frames beyond those are zeros.
    """
    samples, edge = waves.shape[1], config.edge
    waves = waves / (jnp.abs(waves).max(axis=1, keepdims=True) + FAINTEST_PEAK)
    place = np.arange(config.frames(samples) * config.hop_length + 2 * edge) - edge
    if lengths is None:
        waves = waves[:, np.where(place < samples, np.abs(place), 2 * (samples - 1) - place)]
    else:
        last = lengths[:, None] - 1
        mirrored = jnp.where(place[None] <= last, np.abs(place)[None], 2 * last - place[None])
        waves = jnp.take_along_axis(waves, jnp.clip(mirrored, 0, samples - 1), axis=1)
    starts = config.hop_length * np.arange(config.frames(samples))
    frames = waves[:, starts[:, None] + np.arange(config.win_length)[None]]
    phase = 2 * np.pi * np.arange(config.win_length) / config.win_length
    spectrum = jnp.fft.rfft(frames * jnp.asarray(0.5 - 0.5 * np.cos(phase), waves.dtype)[None, None])
    magnitude = jnp.maximum(jnp.abs(spectrum), FAINTEST_BIN)
    parts = jnp.stack([spectrum.real, spectrum.imag], axis=-1)
    compressed = parts / magnitude[..., None] * (magnitude**config.compression)[..., None]
    if lengths is not None:
        compressed = compressed * before(config.frames(lengths), starts.size)[..., None, None]
    return compressed.transpose(0, 2, 1, 3)


def position_table(rows: int, width: int) -> Float[np.ndarray, "rows width"]:
    """Sines and cosines in turns; column 2 i and 2 i + 1 have the frequency 768^(-2 i / width)."""
    rates = LONGEST_PERIOD ** (-np.arange(0, width, 2) / width)
    angles = np.arange(rows)[:, None] * rates[None]
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(rows, width)


class SelfAttention(nn.Module):
    """Attention of every step to all valid ones. Its variables are named and laid out as PyTorch's."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Steps, valid: Valid | None) -> Steps:
        """Mix the steps; steps that are not `valid` are not attended to."""
        batch, steps, width = x.shape
        kernel = self.param("in_proj_weight", _xavier_uniform, (3 * width, width)).astype(self.dtype)
        bias = self.param("in_proj_bias", nn.initializers.zeros, (3 * width,)).astype(self.dtype)
        projected = (x @ kernel.T + bias[None, None]).reshape(batch, steps, 3, self.heads, width // self.heads)
        query, key, value = (projected[:, :, i] for i in range(3))
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(width // self.heads)
        scores = scores.astype(jnp.promote_types(self.dtype, jnp.float32))
        attention = nn.softmax(masked(scores, None if valid is None else valid[:, None, None])).astype(self.dtype)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", attention, value).reshape(batch, steps, width)
        return Linear(width, self.dtype, name="out_proj")(mixed)


class TransformerLayer(nn.Module):
    """A post-norm layer: attention and two linear maps, a layer norm after each sum. No dropout, as published."""

    heads: int
    ffn_dim: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Steps, valid: Valid | None) -> Steps:
        """Map the steps to steps of the same width."""
        attended = SelfAttention(self.heads, self.dtype, name="self_attn")(x, valid)
        x = self._norm("norm1")(x + attended).astype(self.dtype)
        hidden = nn.relu(Linear(self.ffn_dim, self.dtype, name="linear1")(x))
        return self._norm("norm2")(x + Linear(x.shape[-1], self.dtype, name="linear2")(hidden)).astype(self.dtype)

    def _norm(self, name: str) -> nn.LayerNorm:
        exact = jnp.promote_types(self.dtype, jnp.float32)
        return nn.LayerNorm(epsilon=EPSILON, dtype=exact, use_fast_variance=False, name=name)


class DistillMOSEncoder(nn.Module):
    """From waves to the hidden states; see `EncoderKind`."""

    config: DistillMOSConfig
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        """Create `cnn_0`, ..., the norms, the projection, and `layers_0`, ..."""
        config, exact = self.config, jnp.promote_types(self.dtype, jnp.float32)
        strides = zip(config.frequency_strides, config.time_strides, strict=True)
        inputs = (2, *config.channels)
        self.cnn = [
            nn.Conv(
                channels,
                (KERNEL, KERNEL),
                stride,
                padding=((0, 0), (1, 1)),
                dtype=self.dtype,
                kernel_init=uniform_fan_in(KERNEL * KERNEL * before),
                bias_init=uniform_fan_in(KERNEL * KERNEL * before),
            )
            for channels, before, stride in zip(config.channels, inputs, strides, strict=False)
        ]
        self.norm_input = BatchNorm(exact, self.axis_name)
        self.norm = BatchNorm(exact, self.axis_name)
        self.linear_proj = Linear(config.d_model, self.dtype)
        self.position_encoding = Positions("pe", partial(_file_of_positions, config.max_positions), self.dtype)
        self.layers = [TransformerLayer(config.heads, config.ffn_dim, self.dtype) for _ in range(config.layers)]
        self.norm_trans = BatchNorm(exact, self.axis_name)

    def __call__(self, waves: Waves, lengths: Lengths = None, train: bool = False, frozen: int = 0) -> HiddenStates:
        """Give the sum with the positions, the output of every layer, and the batch norm of the last one."""
        x = self._front_end(waves, lengths, train and frozen == 0)
        x = self.linear_proj(x.astype(self.dtype))
        self.sow("stages", "after_linear_proj", x)
        x = self.position_encoding(x)
        self.sow("stages", "after_position_encoding", x)
        valid = None if lengths is None else before(self.config.steps(lengths), x.shape[1])
        states = [held(x, frozen > 0)]
        for index, layer in enumerate(self.layers):
            x = layer(states[-1], valid)
            self.sow("stages", f"after_layers.{index}", x)
            states.append(held(x, frozen > len(states)))
        is_held = frozen > len(states)
        x = self.norm_trans(states[-1], train=train and not is_held).astype(self.dtype)
        self.sow("stages", "after_norm_trans", x)
        return (*states, held(x, is_held))

    def _front_end(self, waves: Waves, lengths: Lengths, train: bool) -> Float[Array, "batch steps features"]:
        """Everything before the projection: spectrum, convolutions, and the batch norms of what is left of them."""
        exact = jnp.promote_types(self.dtype, jnp.float32)
        x = compressed_spectrum(waves.astype(exact), lengths, self.config)
        self.sow("stages", "after_spectrum", x)
        frames = None if lengths is None else self.config.frames(lengths)
        for index, convolution in enumerate(self.cnn):
            x = nn.leaky_relu(convolution(x.astype(self.dtype)), SLOPE)
            self.sow("stages", f"after_cnn.{index}", x)
            if frames is not None:
                # The next convolution must see zeros behind the end, as it does at the end of a wave by itself.
                frames = (frames - 1) // self.config.time_strides[index] + 1
                x = x * before(frames, x.shape[2])[:, None, :, None].astype(x.dtype)
        # Channel by channel, each with its bins: the order that the weights were trained with.
        batch, bins, steps, channels = x.shape
        x = x.transpose(0, 2, 3, 1).reshape(batch, steps, channels * bins)
        self.sow("stages", "after_flatten", x)
        x = self.norm_input(x, train=train)
        self.sow("stages", "after_norm_input", x)
        x = self.norm(x, train=train)
        self.sow("stages", "after_norm", x)
        return x


class AttentionPooling(nn.Module):
    """One number of a sequence: a weighted mean over the steps, whose weights are learnt, and a linear map of it."""

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Steps, valid: Valid | None) -> Float[Array, " batch"]:
        """Pool the valid steps."""
        hidden = nn.relu(Linear(self.hidden, self.dtype, name="linear1")(x))
        scores = Linear(1, self.dtype, name="linear2")(hidden)[..., 0]
        attention = nn.softmax(masked(scores.astype(jnp.promote_types(self.dtype, jnp.float32)), valid))
        self.sow("stages", "after_attention", attention)
        pooled = jnp.einsum("bs,bsd->bd", attention.astype(self.dtype), x)
        self.sow("stages", "after_pooled", pooled)
        return Linear(1, self.dtype, name="linear3")(pooled)[:, 0]


class DistillMOS(nn.Module):
    """The whole published network: the encoder, and the mean opinion score that it was trained for."""

    config: DistillMOSConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Create the encoder and the pooling."""
        self.encoder = DistillMOSEncoder(self.config, self.dtype)
        self.pool = AttentionPooling(2 * self.config.d_model, self.dtype)

    def __call__(self, waves: Waves, lengths: Lengths = None) -> Float[Array, " batch"]:
        """Predict the mean opinion score, from 1 (bad) to 5 (excellent), of each wave at its own length."""
        states = self.encoder(waves, lengths)
        valid = None if lengths is None else before(self.config.steps(lengths), states[-1].shape[1])
        logit = self.pool(states[-1], valid)
        self.sow("stages", "after_logit", logit)
        return LOWEST + (HIGHEST - LOWEST) * nn.sigmoid(logit.astype(jnp.promote_types(logit.dtype, jnp.float32)))


def _file_of_positions(rows: int, width: int) -> Float[np.ndarray, "1 rows width"]:
    return position_table(rows, width)[None]


def _xavier_uniform(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
    bound = (6 / sum(shape)) ** 0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)
