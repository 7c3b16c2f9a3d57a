"""What vocoders are trained by: distances of spectra, and what a discriminator says."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from aasist_jax.corpus.neural_vocoders.spectra import RESOLUTIONS, log_mel, magnitudes

Scalar = Float[Array, ""]
Features = Sequence[Sequence[Array]]
"""What each part of a discriminator computes layer by layer; the last of each are its scores."""


def mel_distance(made: Float[Array, "batch samples"], real: Float[Array, "batch samples"]) -> Scalar:
    """The mean difference of log-mel spectrograms, in natural logarithms (HiFi-GAN, arXiv:2010.05646, eq. 4)."""
    return jnp.mean(jnp.abs(log_mel(made) - log_mel(real)))


def spectral_distance(
    made: Float[Array, "batch samples"],
    real: Float[Array, "batch samples"],
    resolutions: Sequence[tuple[int, int]] = RESOLUTIONS,
) -> Scalar:
    """The mean over resolutions of spectral convergence and log magnitude (Parallel WaveGAN, arXiv:1910.11480, eq. 6).

    The logarithm is of magnitudes of at least 1e-3: what is more silent is not heard, and would weigh the most.
    """
    total = jnp.zeros(())
    for size, hop in resolutions:
        of_made, of_real = magnitudes(made, size, hop), magnitudes(real, size, hop)
        converged = jnp.linalg.norm(of_real - of_made) / jnp.maximum(jnp.linalg.norm(of_real), 1e-3)
        logarithms = jnp.log(jnp.maximum(of_made, 1e-3)) - jnp.log(jnp.maximum(of_real, 1e-3))
        total += converged + jnp.mean(jnp.abs(logarithms))
    return total / len(resolutions)


def discriminator_loss(of_real: Features, of_made: Features) -> Scalar:
    """Least squares: real waves score 1, made ones 0 (Mao et al., 2017, arXiv:1611.04076)."""
    parts = [
        jnp.mean(jnp.square(real[-1] - 1)) + jnp.mean(jnp.square(made[-1]))
        for real, made in zip(of_real, of_made, strict=True)
    ]
    return sum(parts, jnp.zeros(())) / len(parts)


def generator_loss(of_made: Features) -> Scalar:
    """Least squares: made waves score 1."""
    return sum((jnp.mean(jnp.square(made[-1] - 1)) for made in of_made), jnp.zeros(())) / len(of_made)


def feature_distance(of_real: Features, of_made: Features) -> Scalar:
    """The mean difference of the layers but the last (MelGAN, arXiv:1910.06711, eq. 4)."""
    pairs = [
        (real, made)
        for layers in zip(of_real, of_made, strict=True)
        for real, made in zip(layers[0][:-1], layers[1][:-1], strict=True)
    ]
    return sum((jnp.mean(jnp.abs(real - made)) for real, made in pairs), jnp.zeros(())) / len(pairs)
