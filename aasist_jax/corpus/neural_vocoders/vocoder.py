"""What a vocoder is, to training and to copying."""

import flax.linen as nn
from jaxtyping import Array, Float

from aasist_jax.corpus.neural_vocoders.losses import Scalar


class Vocoder(nn.Module):
    """A network from log-mel frames to samples, and the loss that it is trained by.

    What it draws, it draws from the random numbers `noise`.
    """

    def __call__(self, mel: Float[Array, "batch frames 80"]) -> Float[Array, "batch samples"]:
        """Waves at 16 kHz, 256 samples for each frame of `spectra.log_mel`."""
        raise NotImplementedError

    def loss(self, waves: Float[Array, "batch samples"]) -> tuple[Scalar, Float[Array, "batch samples"] | None]:
        """How far from real waves it is.

        Args:
            waves: a multiple of 512 samples, 2048 at least.

        Returns:
            The loss, and the waves that it makes of their spectrograms for a discriminator; None to have none.
        """
        raise NotImplementedError
