"""The sinc filter bank."""

import numpy as np
import pytest

from aasist_jax.features.sinc import sinc_filters


@pytest.mark.parametrize(("filters", "first_conv"), [(70, 128), (20, 1024), (128, 251), (24, 8), (3, 1)])
def test_sinc_filters_are_the_same_forwards_and_backwards(filters: int, first_conv: int) -> None:
    bank = sinc_filters(filters, first_conv)
    assert bank.shape == (filters, first_conv + 1 - first_conv % 2)
    np.testing.assert_array_equal(bank, bank[:, ::-1])
