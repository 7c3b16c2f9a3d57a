"""Multi-band MelGAN (Yang et al., 2020, arXiv:2005.05106): a generator of four bands of the wave at once."""

from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from aasist_jax.corpus.neural_vocoders.layers import DilatedConv, Upsample
from aasist_jax.corpus.neural_vocoders.losses import Scalar, mel_distance, spectral_distance
from aasist_jax.corpus.neural_vocoders.pqmf import analyse, synthesise
from aasist_jax.corpus.neural_vocoders.spectra import log_mel

BANDS = 4
_RESOLUTIONS = ((128, 32), (256, 64), (512, 128))
"""Of the spectra of bands; a step is a fourth of a millisecond."""

_SLOPE = 0.2


@dataclass(frozen=True)
class MultibandGanConfig:
    """The sizes: channels before the first upsampling, halved by each, and the dilations of the residual stacks.

    The product of the rates is 64, the steps of a band in a frame.
    """

    channels: int = 192
    rates: tuple[int, ...] = (8, 4, 2)
    dilations: tuple[int, ...] = (1, 3, 9)


class MultibandGan(nn.Module):
    """From log-mel frames to the bands of a wave: upsampling and dilated residual stacks, as in MelGAN."""

    config: MultibandGanConfig = MultibandGanConfig()

    def __call__(self, mel: Float[Array, "batch frames 80"]) -> Float[Array, "batch samples"]:
        """Waves at 16 kHz of 256 samples for each frame."""
        return synthesise(self.bands(mel))

    @nn.compact
    def bands(self, mel: Float[Array, "batch frames 80"]) -> Float[Array, "batch steps 4"]:
        """The bands of the wave, 64 steps for each frame."""
        x = DilatedConv(self.config.channels, taps=7, name="first")(mel)
        for stage, rate in enumerate(self.config.rates):
            features = self.config.channels >> (stage + 1)
            x = Upsample(features, rate, name=f"up_{stage}")(nn.leaky_relu(x, _SLOPE))
            for number, dilation in enumerate(self.config.dilations):
                y = DilatedConv(features, dilation=dilation, name=f"stack_{stage}_{number}")(nn.leaky_relu(x, _SLOPE))
                x = x + nn.Dense(features, name=f"mixed_{stage}_{number}")(nn.leaky_relu(y, _SLOPE))
        return jnp.tanh(DilatedConv(BANDS, taps=7, name="last")(nn.leaky_relu(x, _SLOPE)))

    def loss(self, waves: Float[Array, "batch samples"]) -> tuple[Scalar, Float[Array, "batch samples"]]:
        """The distance of spectra of the wave, half of each resolution's from the bands (equation 7 of the paper)."""
        parts = self.bands(log_mel(waves))
        made = synthesise(parts)
        # Every band is a wave to the comparison.
        of_made, of_real = (_as_waves(bands) for bands in (parts, analyse(waves, BANDS)))
        of_bands = spectral_distance(of_made, of_real, _RESOLUTIONS)
        return mel_distance(made, waves) + 0.5 * (spectral_distance(made, waves) + of_bands), made


def _as_waves(bands: Float[Array, "batch steps bands"]) -> Float[Array, "batch_times_bands steps"]:
    return bands.transpose(0, 2, 1).reshape(-1, bands.shape[1])
