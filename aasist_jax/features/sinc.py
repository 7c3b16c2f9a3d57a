"""The fixed sinc front-end: band-pass filters on the waveform (Ravanelli & Bengio, 2018; RawNet2, 2021)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aasist_jax.audio.limits import SAMPLE_RATE

MAX_MASKED_FILTERS = 20


@functools.lru_cache(maxsize=8)
def sinc_filters(filters: int, first_conv: int) -> Float[np.ndarray, "filters taps"]:
    """Compute the filter bank, float32, bit-identical to that of the published models.

    `filters + 1` edges evenly spaced in mel (2595 log10(1 + f/700)) from 0 Hz to half the sample rate; each filter
    is the difference of two sinc low-pass filters times a symmetric Hamming window. The precisions matter: the
    sinc is taken in float32, scale and difference in float64, the window is multiplied in float32.

    Args:
        filters: number of filters.
        first_conv: requested taps; an even number is raised to the next odd one.
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
    """Number of taps of the sinc filters: `first_conv`, raised to the next odd number if it is even."""
    return first_conv + 1 - first_conv % 2


def band_edges(filters: int) -> Float[np.ndarray, "edges"]:
    """Band edges of the filters in Hz, evenly spaced in mel; filter i passes edge i to edge i + 1."""
    mel_top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges: np.ndarray = 700 * (10 ** (np.linspace(0, mel_top, filters + 1) / 2595) - 1)
    return edges


def _low_pass(edge: float, time: Float[np.ndarray, " taps"]) -> Float[np.ndarray, " taps"]:
    # A Python float times a float32 array gives float32; the NumPy float64 scalar makes the product float64.
    argument = 2 * float(edge) * time / SAMPLE_RATE
    return np.float64(2 * edge / SAMPLE_RATE) * np.sinc(argument)


def mask_filters(key: Array, bank: Float[Array, "filters taps"]) -> Float[Array, "filters taps"]:
    """Zero a run of neighbouring filters, the same for the whole batch (`freq_aug` in the configuration).

    The length of the run is uniform over 0 to 19; its start is uniform over all possible positions.
    """
    filters = bank.shape[0]
    length_key, start_key = jax.random.split(key)
    length = jax.random.randint(length_key, (), 0, min(MAX_MASKED_FILTERS, filters))
    start = jax.random.randint(start_key, (), 0, filters - length + 1)
    index = jnp.arange(filters)
    masked = (index >= start) & (index < start + length)
    return jnp.where(masked[:, None], 0, bank)
