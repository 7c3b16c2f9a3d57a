"""Whisper's encoder in Flax (Radford et al., 2022, arXiv:2212.04356, section 2.2), from the waveform on.

A log-mel spectrogram, two convolutions, sinusoidal positions, pre-norm transformer layers, a last layer norm. The
variables are called as in Hugging Face's files.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aasist_jax.features.log_mel import log_mel
from aasist_jax.models.layers import Linear, uniform_fan_in
from aasist_jax.models.ssl.encoders.whisper.config import HOP, STRIDES, WhisperConfig
from aasist_jax.models.ssl.steps import HiddenStates, Lengths, Positions, Steps, Valid, Waves, before, held

EPSILON = 1e-5
"""What layer norms add to the variance."""

TAPS = 3
"""Frames that an output of a convolution sees."""


class WhisperEncoder(nn.Module):
    """Waveforms at 16 kHz to the hidden states of every layer, 50 steps a second.

    A waveform has its own length: T frames of 10 ms give ceil(T / 2) steps, at the first ceil(T / 2) positions.
    Whisper itself fills every waveform with zeros to 30 s. No mask hides these zeros, so they change every step: fill
    the waveform before if that is meant.
    """

    config: WhisperConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, waves: Waves, lengths: Lengths = None, train: bool = False, frozen: int = 0) -> HiddenStates:
        """Give the sum with the positions, the output of every layer, and that of the last layer norm.

        The spectrogram is computed in float32 or wider, the rest in `dtype`. `train` has no effect, since Whisper was
        trained without dropout. See `EncoderKind` for the arguments.

        Raises:
            ValueError: the waveforms are too short or too long.
        """
        config, samples = self.config, waves.shape[1]
        if not config.shortest <= samples <= config.longest:
            raise ValueError(f"waves: expected {config.shortest} to {config.longest} samples, got {samples}")
        x = self._front_end(waves, lengths)
        valid = None if lengths is None else before(config.steps(lengths), x.shape[1])
        table = partial(sinusoids, config.max_positions)
        x = Positions("embedding", table, self.dtype, name="embed_positions")(x)
        self.sow("stages", "after_embed_positions", x)
        states = [held(x, frozen > 0)]
        for index in range(config.layers):
            x = Layer(config, self.dtype, name=f"layers_{index}")(states[-1], valid)
            self.sow("stages", f"after_layers.{index}", x)
            states.append(held(x, frozen > len(states)))
        x = _layer_norm(self.dtype, "layer_norm")(states[-1])
        self.sow("stages", "after_layer_norm", x)
        return (*states, held(x, frozen > len(states)))

    def _front_end(self, waves: Waves, lengths: Lengths) -> Steps:
        """The spectrogram and the two convolutions."""
        x = log_mel(waves, self.config.num_mel_bins, lengths)
        self.sow("stages", "after_log_mel", x)
        x = x.astype(self.dtype)
        frames = None if lengths is None else lengths // HOP
        for number, stride in enumerate(STRIDES, start=1):
            x = Convolution(self.config.d_model, stride, self.dtype, name=f"conv{number}")(x)
            self.sow("stages", f"after_conv{number}", x)
            if frames is not None:
                # The next convolution must see zeros behind the end, as it does at the end of a wave by itself.
                frames = (frames - 1) // stride + 1
                x = x * before(frames, x.shape[1])[:, :, None].astype(x.dtype)
        return x


class Convolution(nn.Module):
    """Convolution over time with three taps, one zero on either side, and GELU: (batch, frames, channels).

    It is one matrix product of the kernel and the three frames that each output sees. On a CPU XLA's own convolution
    has no fast form in float64.
    """

    features: int
    stride: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "batch frames channels"]) -> Float[Array, "batch steps {self.features}"]:
        """Convolve in `dtype`."""
        channels = x.shape[2]
        init = uniform_fan_in(TAPS * channels)
        kernel = jnp.asarray(self.param("kernel", init, (TAPS, channels, self.features)), self.dtype)
        bias = jnp.asarray(self.param("bias", init, (self.features,)), self.dtype)
        # Output t sees frames s t - 1 to s t + 1, with one zero before the first frame and one behind the last.
        last = (x.shape[1] - 1) // self.stride * self.stride
        padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
        seen = [padded[:, tap : tap + last + 1 : self.stride] for tap in range(TAPS)]
        y = jnp.concatenate(seen, axis=2) @ kernel.reshape(TAPS * channels, self.features)
        return gelu(y + bias[None, None])


class Layer(nn.Module):
    """A pre-norm transformer layer: attention and a feed-forward network, each added to what it is given."""

    config: WhisperConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Steps, valid: Valid | None = None) -> Steps:
        """Apply the layer; steps that are not `valid` are seen by no other."""
        normed = _layer_norm(self.dtype, "self_attn_layer_norm")(x)
        x = x + Attention(self.config.heads, self.dtype, name="self_attn")(normed, valid)
        normed = _layer_norm(self.dtype, "final_layer_norm")(x)
        widened = gelu(Linear(self.config.ffn_dim, self.dtype, name="fc1")(normed))
        return x + Linear(self.config.d_model, self.dtype, name="fc2")(widened)


class Attention(nn.Module):
    """Self-attention with several heads, every step to every step.

    Keys have no bias: it would shift all scores of a query alike, and softmax would cancel it.
    """

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Steps, valid: Valid | None = None) -> Steps:
        """Attend to the steps that are `valid`, or to all."""
        width = x.shape[2]
        query = Linear(width, self.dtype, name="q_proj")(x) * (width // self.heads) ** -0.5
        key = nn.Dense(width, use_bias=False, dtype=self.dtype, kernel_init=uniform_fan_in(width), name="k_proj")(x)
        value = Linear(width, self.dtype, name="v_proj")(x)
        heads = tuple(self._by_head(part) for part in (query, key, value))

        def attend(head: tuple[Array, Array, Array]) -> Float[Array, "batch steps size"]:
            return _attend(*head, valid)

        # On a CPU one head after the other, whose scores then stay in the cache: those of 30 s take 9 MB a head.
        mixed = jax.lax.platform_dependent(
            heads, cpu=lambda heads: jax.lax.map(attend, heads), default=lambda heads: jax.vmap(attend)(heads)
        )
        return Linear(width, self.dtype, name="out_proj")(mixed.transpose(1, 2, 0, 3).reshape(x.shape))

    def _by_head(self, x: Steps) -> Float[Array, "heads batch steps size"]:
        # Heads come before steps: with steps first, XLA's matrix products on a CPU take up to four times as long.
        batch, steps, width = x.shape
        return x.reshape(batch, steps, self.heads, width // self.heads).transpose(2, 0, 1, 3)


def _attend(
    query: Float[Array, "batch steps size"],
    key: Float[Array, "batch steps size"],
    value: Float[Array, "batch steps size"],
    valid: Valid | None,
) -> Float[Array, "batch steps size"]:
    """Let every step take up the values of the valid ones, by the softmax of its query's products with their keys."""
    scores = query @ key.swapaxes(1, 2)
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    if valid is not None:
        scores = jnp.where(valid[:, None, :], scores, -jnp.inf)
    return jax.nn.softmax(scores, axis=-1).astype(value.dtype) @ value


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """GELU by the error function (Hendrycks and Gimpel, 2016); with its tanh form the output is up to 0.06 off."""
    return 0.5 * x * (1 + jax.lax.erf(x * 2**-0.5))


def sinusoids(positions: int, width: int) -> Float[np.ndarray, "positions width"]:
    """Whisper's table of positions, float64: sines of width / 2 frequencies, then their cosines.

    Files of weights have tables of their own, rounded to float16 in the published ones; those are used.
    """
    rates = 10_000.0 ** (-np.arange(width // 2) / (width // 2 - 1))
    angles = np.arange(positions)[:, None] * rates[None, :]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _layer_norm(dtype: Any, name: str) -> nn.LayerNorm:
    # Not E[x^2] - E[x]^2: one channel of Whisper tiny.en reaches 126, and its square would swallow the others' digits.
    return nn.LayerNorm(epsilon=EPSILON, dtype=dtype, use_fast_variance=False, name=name)
