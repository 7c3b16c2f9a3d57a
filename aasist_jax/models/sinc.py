"""The fixed sinc front-end: band-pass filters on the waveform (Ravanelli & Bengio, 2018; RawNet2, 2021)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aasist_jax.native import operations

SAMPLE_RATE = 16_000
MAX_MASKED_FILTERS = 20


@functools.lru_cache(maxsize=8)
def sinc_filters(filters: int, first_conv: int) -> Float[np.ndarray, "filters taps"]:
    """Compute the filter bank, float32, to the bit as the published models use it.

    `filters + 1` edges evenly spaced in mel (2595 log10(1 + f/700)) from 0 Hz to half the sample rate; each filter
    is the difference of two sinc low-pass filters times a symmetric Hamming window. The precisions matter: the
    sinc is taken in float32, scale and difference in float64, the window is multiplied in float32.

    Args:
        filters: number of filters.
        first_conv: requested taps; an even number becomes the next odd one.
    """
    taps = sinc_taps(first_conv)
    edges = band_edges(filters)
    half = (taps - 1) // 2
    time = np.arange(-half, half + 1).astype(np.float32)
    low_pass = np.stack([_low_pass(edge, time) for edge in edges])
    band_pass = (low_pass[1:] - low_pass[:-1]).astype(np.float32)
    bank = np.hamming(taps).astype(np.float32) * band_pass
    bank.flags.writeable = False
    return bank


def sinc_taps(first_conv: int) -> int:
    """Taps of the sinc filters: an even number becomes the next odd one."""
    return first_conv + 1 - first_conv % 2


def band_edges(filters: int) -> Float[np.ndarray, "edges"]:
    """Frequencies in Hz between which the filters lie, evenly spaced in mel: filter i from edge i to edge i + 1."""
    mel_top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges: np.ndarray = 700 * (10 ** (np.linspace(0, mel_top, filters + 1) / 2595) - 1)
    return edges


def _low_pass(edge: float, time: Float[np.ndarray, " taps"]) -> Float[np.ndarray, " taps"]:
    # A Python float times a float32 array stays float32; the NumPy float64 scalar outside widens the product.
    argument = 2 * float(edge) * time / SAMPLE_RATE
    return np.float64(2 * edge / SAMPLE_RATE) * np.sinc(argument)


def mask_filters(key: Array, bank: Float[Array, "filters taps"]) -> Float[Array, "filters taps"]:
    """Zero a run of neighbouring filters, one draw for the whole batch (the recipe's `freq_aug`).

    The run's length is uniform over 0..19, its start uniform over every place where it fits.
    """
    filters = bank.shape[0]
    length_key, start_key = jax.random.split(key)
    length = jax.random.randint(length_key, (), 0, min(MAX_MASKED_FILTERS, filters))
    start = jax.random.randint(start_key, (), 0, filters - length + 1)
    index = jnp.arange(filters)
    masked = (index >= start) & (index < start + length)
    return jnp.where(masked[:, None], 0, bank)


def sinc_convolution(
    wave: Float[Array, "batch samples"], bank: Float[Array, "filters taps"]
) -> Float[Array, "batch filtered filters"]:
    """Filter a waveform, no padding: filtered = samples - taps + 1. Channels last."""
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
    """Filter, take the absolute value, max-pool 3 x 3 over filters and time without overlap.

    What `sinc_convolution` gives is not stored.

    Args:
        wave: waveforms.
        bank: a filter bank for all, or one for each; every filter is the same forwards and backwards.
    """
    out: Array = operations.choose(
        wave,
        bank.astype(wave.dtype),
        native=operations.sinc_magnitude,
        xla=pooled_sinc_magnitude_by_product,
        suits=bank.shape[-1] % 2 == 1,
    )
    return out


def pooled_sinc_magnitude_by_product(
    wave: Float[Array, "batch samples"], bank: Float[Array, "#batch filters taps"]
) -> Float[Array, "batch f3 t3"]:
    """`pooled_sinc_magnitude` as one product of matrices.

    For each of the three time steps of a pool the filters, shifted by as much, are rows of one matrix, whose product
    with the shifted waveform has pooled time as its last axis. So the maxima are those of whole rows, and the result
    has the layout of what follows.
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
