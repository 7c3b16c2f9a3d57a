"""The discriminator of the vocoders that are trained adversarially: HiFi-GAN's of several periods, made narrow."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from aasist_jax.corpus.neural_vocoders.losses import Features

_SLOPE = 0.1


class PeriodDiscriminator(nn.Module):
    """Scores waves by samples that lie a period apart, for each of several periods (Kong et al., 2020, section 2.3).

    Attributes:
        periods: in samples; primes, so that they see different samples.
        widths: channels of the layers, each of which takes every third step.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    widths: tuple[int, ...] = (16, 32, 64, 128)

    @nn.compact
    def __call__(self, waves: Float[Array, "batch samples"]) -> Features:
        """For each period the outputs of its layers; the last are scores."""
        return [self._layers(waves, period) for period in self.periods]

    def _layers(self, waves: Float[Array, "batch samples"], period: int) -> list[Array]:
        batch, samples = waves.shape
        padded = jnp.pad(waves, ((0, 0), (0, -samples % period)))
        # A row for each phase of the period: the convolutions see it as a wave of its own.
        x = padded.reshape(batch, -1, period).transpose(0, 2, 1).reshape(batch * period, -1, 1)
        layers = []
        for number, width in enumerate(self.widths):
            x = nn.Conv(width, (5,), strides=(3,), padding=[(2, 2)], name=f"period_{period}_{number}")(x)
            x = nn.leaky_relu(x, _SLOPE)
            layers.append(x)
        layers.append(nn.Conv(1, (3,), padding=[(1, 1)], name=f"period_{period}_scores")(x))
        return layers
