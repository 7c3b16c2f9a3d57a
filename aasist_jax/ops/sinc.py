"""Filters a waveform and max-pools the magnitudes."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aasist_jax.ops import choice
from aasist_jax.ops.native import kernels


def sinc_convolution(
    wave: Float[Array, "batch samples"], bank: Float[Array, "filters taps"]
) -> Float[Array, "batch filtered filters"]:
    """Filter a waveform without padding, filtered = samples - taps + 1; channels last."""
    return jax.lax.conv_general_dilated(
        wave[..., None],
        bank.T[:, None].astype(wave.dtype),
        window_strides=(1,),
        padding="VALID",
        dimension_numbers=("NWC", "WIO", "NWC"),
    )


@jax.custom_vjp
def pooled_sinc_magnitude(
    wave: Float[Array, "batch samples"], bank: Float[Array, "#batch filters taps"]
) -> Float[Array, "batch f3 t3"]:
    """Filter, take the absolute value, and max-pool 3 x 3 over filters and time without overlap.

    The output of the filters is not stored.

    Args:
        wave: waveforms.
        bank: one filter bank for all waveforms, or one per waveform; every filter is symmetric.
    """
    out: Array = choice.choose(
        wave,
        bank.astype(wave.dtype),
        native=kernels.sinc_magnitude,
        xla=pooled_sinc_magnitude_by_product,
        suits=bank.shape[-1] % 2 == 1,
    )
    return out


def pooled_sinc_magnitude_by_product(
    wave: Float[Array, "batch samples"], bank: Float[Array, "#batch filters taps"]
) -> Float[Array, "batch f3 t3"]:
    """`pooled_sinc_magnitude` as one matrix product.

    The rows of the matrix are the filters, shifted by 0, 1 and 2 samples for the three time steps of a pool. Its
    product with the shifted waveform has pooled time as its last axis. The maxima are then element-wise over rows, and
    the result has the layout that the next layer needs.
    """
    filters, taps = bank.shape[-2:]
    batch, samples = wave.shape
    f3, t3 = filters // 3, (samples - taps + 1) // 3
    steps = t3 + -(-(taps + 2) // 3) - 1
    wave = jnp.pad(wave, ((0, 0), (0, 2)))[:, : 3 * steps].reshape(batch, steps, 3).swapaxes(1, 2)
    shifted = jnp.stack([wave[:, k % 3, k // 3 : k // 3 + t3] for k in range(taps + 2)], axis=1)
    phases = [jnp.pad(bank[:, : 3 * f3], ((0, 0), (0, 0), (k, 2 - k))) for k in range(3)]
    matrix = jnp.stack(phases, axis=2).reshape(bank.shape[0], 9 * f3, taps + 2).astype(wave.dtype)
    matrix = jnp.broadcast_to(matrix, (batch, 9 * f3, taps + 2))
    filtered = jnp.abs(jax.lax.batch_matmul(matrix, shifted)).reshape(batch, f3, 9, t3)
    return functools.reduce(jnp.maximum, [filtered[:, :, k] for k in range(9)])


def _magnitude_forward(wave: Array, bank: Array) -> tuple[Array, tuple[Array, Array]]:
    return pooled_sinc_magnitude(wave, bank), (wave, bank)


pooled_sinc_magnitude.defvjp(
    _magnitude_forward, lambda operands, g: jax.vjp(pooled_sinc_magnitude_by_product, *operands)[1](g)
)
