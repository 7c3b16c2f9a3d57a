"""A vocoder by diffusion: DiffWave's network (Kong et al., 2020, arXiv:2009.09761) on eight bands of the wave.

The noise is shaped by the spectrogram, as PriorGrad has it (Lee et al., 2021, arXiv:2106.06406): each band is divided
by the level that the spectrogram gives for it at that time. The network predicts the velocity between wave and noise,
and the wave is made in a few fixed steps without new noise (Salimans, Ho, 2022, arXiv:2202.00512).
"""

import math
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.corpus.neural_vocoders.layers import DilatedConv, Upsample
from aasist_jax.corpus.neural_vocoders.losses import Scalar
from aasist_jax.corpus.neural_vocoders.mel import FFT, HOP, mel_filters
from aasist_jax.corpus.neural_vocoders.pqmf import analyse, synthesise
from aasist_jax.corpus.neural_vocoders.spectra import log_mel

BANDS = 8
_STEPS_PER_FRAME = HOP // BANDS
_LEAST = 1e-5
_WINDOW_POWER = 3 / 8  # the mean square of Hann's window


@dataclass(frozen=True)
class DiffusionConfig:
    """The sizes: channels, layers, after how many of them the dilations begin anew, and the steps of synthesis."""

    width: int = 48
    layers: int = 12
    cycle: int = 6
    steps: int = 6


class Diffusion(nn.Module):
    """From noise to the bands of a wave, step by step, given log-mel frames."""

    config: DiffusionConfig = DiffusionConfig()

    def setup(self) -> None:
        """Make the layers."""
        width = self.config.width
        self.seen = DilatedConv(2 * width)
        self.spread = Upsample(width, _STEPS_PER_FRAME)
        self.first = nn.Dense(width)
        self.level = nn.Dense(width)
        self.convs = [DilatedConv(2 * width, dilation=2 ** (n % self.config.cycle)) for n in range(self.config.layers)]
        self.conditions = [nn.Dense(2 * width) for _ in range(self.config.layers)]
        self.levels = [nn.Dense(width) for _ in range(self.config.layers)]
        self.outputs = [nn.Dense(2 * width) for _ in range(self.config.layers)]
        self.gathered = nn.Dense(width)
        self.last = nn.Dense(BANDS, kernel_init=nn.initializers.zeros)

    def __call__(self, mel: Float[Array, "batch frames 80"]) -> Float[Array, "batch samples"]:
        """Waves at 16 kHz of 256 samples for each frame."""
        batch, frames, _ = mel.shape
        condition = self._condition(mel)
        noisy = jax.random.normal(self.make_rng("noise"), (batch, frames * _STEPS_PER_FRAME, BANDS))
        step = math.pi / 2 / self.config.steps
        for number in range(self.config.steps):
            angle = jnp.full((batch, 1, 1), math.pi / 2 - number * step, mel.dtype)
            velocity = self._velocity(noisy, angle, condition)
            noisy = math.cos(step) * noisy - math.sin(step) * velocity
        return synthesise(noisy * band_levels(mel))

    def loss(self, waves: Float[Array, "batch samples"]) -> tuple[Scalar, None]:
        """The mean squared error of the velocity, at an angle between wave and noise that is drawn for each wave."""
        mel = log_mel(waves)
        clean = analyse(waves, BANDS) / band_levels(mel)
        of_noise, of_angle = jax.random.split(self.make_rng("noise"))
        noise = jax.random.normal(of_noise, clean.shape)
        angle = jax.random.uniform(of_angle, (waves.shape[0], 1, 1), maxval=math.pi / 2)
        noisy = jnp.cos(angle) * clean + jnp.sin(angle) * noise
        wanted = jnp.cos(angle) * noise - jnp.sin(angle) * clean
        return jnp.mean(jnp.square(self._velocity(noisy, angle, self._condition(mel)) - wanted)), None

    def _condition(self, mel: Float[Array, "batch frames 80"]) -> Float[Array, "batch steps width"]:
        return nn.leaky_relu(self.spread(nn.leaky_relu(self.seen(mel), 0.4)), 0.4)

    def _velocity(
        self,
        noisy: Float[Array, "batch steps bands"],
        angle: Float[Array, "batch 1 1"],
        condition: Float[Array, "batch steps width"],
    ) -> Float[Array, "batch steps bands"]:
        x = nn.relu(self.first(noisy))
        scales = jnp.asarray(2.0 ** np.arange(8), jnp.float32).reshape(1, 1, -1)
        level = nn.silu(self.level(jnp.concatenate([jnp.sin(angle * scales), jnp.cos(angle * scales)], axis=2)))
        total = jnp.zeros_like(x)
        for number, conv in enumerate(self.convs):
            y = conv(x + self.levels[number](level)) + self.conditions[number](condition)
            filtered, gate = jnp.split(y, 2, axis=2)
            onward, aside = jnp.split(self.outputs[number](jnp.tanh(filtered) * nn.sigmoid(gate)), 2, axis=2)
            x, total = (x + onward) / math.sqrt(2), total + aside
        return self.last(nn.relu(self.gathered(total / math.sqrt(self.config.layers))))


def band_levels(mel: Float[Array, "batch frames 80"]) -> Float[Array, "batch steps 8"]:
    """The level of each band of a wave over time, as its log-mel spectrogram has it: 1 for noise of variance 8.

    The spectrum is taken to be even between the centres of the mel bands, and levels to change evenly between frames.
    """
    filters = mel_filters(SAMPLE_RATE)
    # From the sum that a filter gives to a mean, and from filters of equal area to such of equal height.
    weights = filters / filters.sum(axis=1, keepdims=True) / filters.max(axis=1, keepdims=True)
    spectrum = jnp.matmul(jnp.exp(mel), jnp.asarray(weights, mel.dtype))
    power = jnp.square(spectrum[..., : FFT // 2]).reshape(*mel.shape[:2], BANDS, -1).sum(axis=3)
    levels = jnp.sqrt(2 * power / (FFT**2 * _WINDOW_POWER)) + _LEAST
    logs = jnp.log(levels)
    before, after = (jnp.pad(logs, ((0, 0), pad, (0, 0)), mode="edge") for pad in ((1, 0), (0, 1)))
    # From the middle between two frames to the next: the share of the one and of the other.
    share = ((np.arange(_STEPS_PER_FRAME) + 0.5) / _STEPS_PER_FRAME).reshape(1, 1, -1, 1)
    between = before[:, :, None] * (1 - share) + after[:, :, None] * share
    flat = between.reshape(mel.shape[0], -1, BANDS)
    half = _STEPS_PER_FRAME // 2
    return jnp.exp(flat[:, half : half + mel.shape[1] * _STEPS_PER_FRAME])
