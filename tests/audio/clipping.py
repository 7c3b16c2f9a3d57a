"""Clipping by its definition, over a whole wave at once: what `SignalMeter` finds piece by piece."""

import numpy as np

from aasist_jax.audio.condition import CLIPPED_BAND, CLIPPED_QUANTILE, CLIPPED_RUN, STEP


def clipped_share(wave: np.ndarray, band: float = CLIPPED_BAND) -> float:
    """Share of the samples that dwell at the extreme (see `aasist_jax.audio.condition`)."""
    loudest = float(np.quantile(np.abs(wave), CLIPPED_QUANTILE))
    if loudest <= STEP:
        return 0.0
    level = loudest * (1 - band)
    return (_in_runs(wave >= level) + _in_runs(wave <= -level)) / wave.size


def _in_runs(extreme: np.ndarray) -> int:
    """Count what is true in runs of at least `CLIPPED_RUN`."""
    edges = np.flatnonzero(np.diff(extreme.astype(np.int8), prepend=0, append=0))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= CLIPPED_RUN].sum())


def overdriven(wave: np.ndarray, share: float) -> np.ndarray:
    """Clipped so that this share of the samples is at the limit, which is full scale."""
    level = np.quantile(np.abs(wave), 1 - share)
    return (np.clip(wave, -level, level) / level).astype(np.float32)
