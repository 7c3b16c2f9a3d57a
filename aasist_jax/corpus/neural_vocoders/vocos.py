"""Vocos (Siuzdak, 2023, arXiv:2306.00814): magnitude and phase of every frame, and an inverse Fourier transform."""

import math
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aasist_jax.corpus.neural_vocoders.layers import DepthwiseConv
from aasist_jax.corpus.neural_vocoders.losses import Scalar, mel_distance, spectral_distance
from aasist_jax.corpus.neural_vocoders.mel import FFT
from aasist_jax.corpus.neural_vocoders.spectra import inverse, log_mel

_LOUDEST = 512.0
"""The magnitude of a sine of full scale, at least."""


@dataclass(frozen=True)
class VocosConfig:
    """The sizes: channels, blocks of ConvNeXt, and how many times as wide a block is inside."""

    width: int = 256
    blocks: int = 6
    expansion: int = 3


class ConvNeXtBlock(nn.Module):
    """A block of ConvNeXt over frames (Liu et al., 2022, arXiv:2201.03545)."""

    expansion: int
    first_scale: float

    @nn.compact
    def __call__(self, x: Float[Array, "batch frames channels"]) -> Float[Array, "batch frames channels"]:
        """The input and what the block adds to it."""
        channels = x.shape[2]
        y = nn.LayerNorm(epsilon=1e-6)(DepthwiseConv()(x))
        y = nn.Dense(channels)(nn.gelu(nn.Dense(self.expansion * channels)(y)))
        scale = self.param("scale", nn.initializers.constant(self.first_scale), (1, 1, channels))
        return x + scale * y


class Vocos(nn.Module):
    """From log-mel frames to samples; everything but the inverse transform is computed once a frame."""

    config: VocosConfig = VocosConfig()

    @nn.compact
    def __call__(self, mel: Float[Array, "batch frames 80"]) -> Float[Array, "batch samples"]:
        """Waves at 16 kHz of 256 samples for each frame."""
        config = self.config
        x = nn.LayerNorm(epsilon=1e-6)(nn.Conv(config.width, (7,), padding=[(3, 3)], name="embedding")(mel))
        for number in range(config.blocks):
            x = ConvNeXtBlock(config.expansion, 1 / config.blocks, name=f"block_{number}")(x)
        logs, phases = jnp.split(nn.Dense(FFT + 2, name="head")(nn.LayerNorm(epsilon=1e-6)(x)), 2, axis=2)
        magnitude = jnp.exp(jnp.minimum(logs, math.log(_LOUDEST)))
        return inverse(jax.lax.complex(magnitude * jnp.cos(phases), magnitude * jnp.sin(phases)))

    def loss(self, waves: Float[Array, "batch samples"]) -> tuple[Scalar, Float[Array, "batch samples"]]:
        """The distance of spectra, in mel bands and in frames of three sizes."""
        made = self(log_mel(waves))
        return mel_distance(made, waves) + spectral_distance(made, waves), made
