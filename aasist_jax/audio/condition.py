"""What a recording is like before any model hears it: fit to be judged, doubtful, or nothing to judge."""

from typing import Literal

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.errors import AudioError

Condition = Literal["ok", "short", "silent", "constant", "clipped"]

SHORT_SECONDS = 0.5

STEP = 1 / 32768
"""One step of 16-bit audio."""

EDGE = SAMPLE_RATE // 50
"""Samples left out at either end of what is asked for silence: resampling rings at the edges of a constant."""

CLIPPED_SHARE = 0.025
CLIPPED_RUN = 3
CLIPPED_BAND = 0.05
CLIPPED_QUANTILE = 0.99
SLICE = 1 << 20


def condition(wave: Float32[np.ndarray, "samples"]) -> Condition:
    """Say what can be said of a wave at 16 kHz without a model.

    `silent` and `constant` leave nothing to judge, and a score of them would mean nothing; the others can be scored,
    `short` and `clipped` with reserve. The first that holds, in this order:

    - `silent`: no sample is beyond one step of 16 bits (2**-15, -90 dBFS).
    - `constant`: a DC line; all samples lie within two steps of 16 bits. In both cases the outermost 20 ms of a wave
      that has 80 ms are not asked.
    - `short`: less than 0.5 s.
    - `clipped`: heavily clipped; `clipped_share` is 2.5 % or more.
    - `ok`: none of these.

    Raises:
        AudioError: no samples; NaN or infinite samples.
    """
    if wave.size == 0:
        raise AudioError("a clip without samples is in no condition to be judged")
    low, high = float(wave.min()), float(wave.max())
    if not np.isfinite((low, high)).all():
        raise AudioError("a clip with NaN or infinite samples is in no condition to be judged")
    if wave.size >= 4 * EDGE:
        inner = wave[EDGE:-EDGE]
        low, high = float(inner.min()), float(inner.max())
    if high - low <= 2 * STEP:
        return "silent" if max(-low, high) <= STEP else "constant"
    if wave.size < SHORT_SECONDS * SAMPLE_RATE:
        return "short"
    return "clipped" if clipped_share(wave) >= CLIPPED_SHARE else "ok"


def clipped_share(wave: Float32[np.ndarray, "samples"]) -> float:
    """Share of the samples that dwell at the extreme, in [0, 1].

    Those are runs of three or more of one sign, each within 5 % of the level that the loudest 1 % of samples reach.
    Speech passes through its peaks, clipped speech stays there. The level is no maximum, since resampling and lossy
    coding after the clipping overshoot it; nor is it full scale, since the gain may have been changed after.
    A steady tone dwells at its extremes as well. Where that level is silence (see `condition`), the share is 0: at most
    1 % of the samples are beyond it.
    """
    magnitude = np.abs(wave[:: -(-wave.size // SLICE)])
    loudest = float(np.quantile(magnitude, CLIPPED_QUANTILE))
    if loudest <= STEP:
        return 0.0
    level = loudest * (1 - CLIPPED_BAND)
    dwelling = 0
    for start in range(0, wave.size, SLICE):
        part = wave[start : start + SLICE]
        dwelling += _in_runs(part >= level) + _in_runs(part <= -level)
    return dwelling / wave.size


def _in_runs(extreme: np.ndarray) -> int:
    """Count what is true in runs of at least `CLIPPED_RUN`."""
    edges = np.flatnonzero(np.diff(extreme.astype(np.int8), prepend=0, append=0))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= CLIPPED_RUN].sum())
