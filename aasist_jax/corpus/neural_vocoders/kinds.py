"""The kinds of vocoders that are trained here, with the sizes and the training of each for the large corpus."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn

from aasist_jax.corpus.neural_vocoders.diffusion import Diffusion, DiffusionConfig
from aasist_jax.corpus.neural_vocoders.multiband_gan import MultibandGan, MultibandGanConfig
from aasist_jax.corpus.neural_vocoders.training import TrainingSettings
from aasist_jax.corpus.neural_vocoders.vocos import Vocos, VocosConfig


@dataclass(frozen=True)
class Kind:
    """A kind of vocoder.

    The network is called as `network(mel)`, with log-mel frames (batch, frames, 80) of `spectra.log_mel`, and gives
    waves at 16 kHz, 256 samples for each frame. `network.loss(waves)`, of a multiple of 512 samples, 2048 at least,
    gives how far from them it is, and the waves that it makes of their spectrograms for a discriminator; None to have
    none. What it draws, it draws from the random numbers `noise`.

    Attributes:
        config: the type of its sizes; the defaults are those that the large corpus is made with.
        network: makes the network of such sizes.
        settings: how it is trained unless told otherwise.
    """

    config: type
    network: Callable[[Any], nn.Module]
    settings: TrainingSettings


KINDS: Mapping[str, Kind] = {
    "vocos": Kind(VocosConfig, Vocos, TrainingSettings(steps=20_000, adversarial_from=0.6)),
    "multiband_gan": Kind(
        MultibandGanConfig, MultibandGan, TrainingSettings(steps=12_000, frames=32, adversarial_from=0.6)
    ),
    "diffusion": Kind(DiffusionConfig, Diffusion, TrainingSettings(steps=16_000, frames=32)),
}
"""By the name of the system."""
