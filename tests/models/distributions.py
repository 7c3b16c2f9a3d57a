"""Checks of what initialisers draw."""

from typing import Any

import numpy as np
from scipy import stats


def assert_uniform(sample: Any, bound: float) -> None:
    sample = np.asarray(sample, np.float64).ravel()
    assert np.abs(sample).max() <= bound
    assert stats.kstest(sample, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3


def assert_normal(sample: Any, deviation: float) -> None:
    sample = np.asarray(sample, np.float64).ravel()
    assert stats.kstest(sample, stats.norm(0, deviation).cdf).pvalue > 1e-3
