"""The inputs of every contender."""

import numpy as np


def noise(batch: int, samples: int) -> np.ndarray:
    """Waveforms that are the same in every run and in every process."""
    return (0.1 * np.random.default_rng(0).standard_normal((batch, samples))).astype(np.float32)


def labels(batch: int) -> np.ndarray:
    """Both labels by turns."""
    return np.arange(batch, dtype=np.int32) % 2
