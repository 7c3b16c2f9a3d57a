"""The C++ kernel of the sinc filters' magnitude against the same operations in XLA."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.features import sinc
from aasist_jax.ops import sinc as ops_sinc
from aasist_jax.ops.native import kernels as operations
from tests.ops.comparison import assert_same, both_precisions, draw, native

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@native
@both_precisions
@pytest.mark.parametrize(
    ("batch", "samples", "filters", "taps", "banks"),
    [
        (2, 3000, 70, 129, 1),
        (3, 1000, 70, 129, 3),  # a bank for each clip
        (20, 27, 8, 5, 1),  # filters that fill no pool, more clips than parts
        (1, 7, 3, 5, 1),  # one pooled step
        (1, 400, 96, 3, 1),
        (2, 200, 9, 1, 1),
        (1, 6, 3, 5, 1),  # no pooled step
        (2, 50, 2, 5, 1),  # no pool of filters
    ],
)
def test_sinc_magnitude(dtype: Any, batch: int, samples: int, filters: int, taps: int, banks: int) -> None:
    with jax.enable_x64(True):
        wave, bank = draw(dtype, batch, samples), draw(dtype, banks, filters, taps, seed=1)
        bank = bank + bank[..., ::-1]
        expected = jax.jit(ops_sinc.pooled_sinc_magnitude_by_product)(wave, bank)
        assert_same(operations.sinc_magnitude(wave, bank), expected, dtype)


@native
def test_the_gradient_of_the_sinc_magnitude_is_that_of_the_product() -> None:
    wave, g = draw(np.float32, 2, 60), draw(np.float32, 2, 2, 18, seed=2)
    for banks in (1, 2):
        bank = draw(np.float32, banks, 6, 5, seed=1)
        bank += bank[..., ::-1]
        (y, pullback), (same, expected) = (
            jax.vjp(f, wave, bank) for f in (ops_sinc.pooled_sinc_magnitude, ops_sinc.pooled_sinc_magnitude_by_product)
        )
        assert_same(y, same, np.float32)
        for a, b in zip(pullback(g), expected(g), strict=True):
            np.testing.assert_array_equal(a, b)


@native
def test_sinc_magnitude_lets_nan_through() -> None:
    wave = draw(np.float32, 1, 3000).at[0, 1500].set(jnp.nan)
    bank = jnp.asarray(sinc.sinc_filters(70, 128))[None]
    expected = jax.jit(ops_sinc.pooled_sinc_magnitude_by_product)(wave, bank)
    assert 0 < np.isnan(expected).sum() < expected.size
    np.testing.assert_array_equal(np.isnan(operations.sinc_magnitude(wave, bank)), np.isnan(expected))


@native
def test_filters_of_an_even_number_of_taps_are_left_to_xla() -> None:
    wave, bank = draw(np.float32, 1, 300), draw(np.float32, 1, 6, 4)
    expected = ops_sinc.pooled_sinc_magnitude_by_product(wave, bank)
    np.testing.assert_array_equal(ops_sinc.pooled_sinc_magnitude(wave, bank), expected)
