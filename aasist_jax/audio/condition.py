"""Whether a recording can be judged at all, found without a model.

It may be silent, constant, damaged, short or clipped.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.errors import AudioError

Condition = Literal["ok", "short", "silent", "constant", "clipped", "damaged"]

SHORT_SECONDS = 0.5

STEP = 1 / 32768
"""One step of 16-bit audio."""

EDGE = SAMPLE_RATE // 50
"""Samples at either end that do not count for `silent` and `constant`: resampling a constant rings at its edges."""

CLIPPED_SHARE = 0.025
CLIPPED_RUN = 3
CLIPPED_BAND = 0.05
CLIPPED_QUANTILE = 0.99
SLICE = 1 << 20


def condition(wave: Float32[np.ndarray, "samples"], *, is_damaged: bool = False) -> Condition:
    """The condition of a wave at 16 kHz.

    A score of a `silent` or `constant` wave would mean nothing. A `damaged`, `short` or `clipped` one can be
    scored, but its score is less reliable. The first of these that holds is returned:

    - `silent`: no sample is beyond one step of 16 bits (2**-15, -90 dBFS).
    - `constant`: a DC line; all samples lie within two steps of 16 bits. For this and for `silent`, the first and last
      20 ms are left out if the wave has at least 80 ms.
    - `damaged`: `is_damaged`, which `aasist_jax.audio.damage.find_damage` tells of the file.
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
    if is_damaged:
        return "damaged"
    if wave.size < SHORT_SECONDS * SAMPLE_RATE:
        return "short"
    return "clipped" if clipped_share(wave) >= CLIPPED_SHARE else "ok"


def clipped_share(wave: Float32[np.ndarray, "samples"]) -> float:
    """Share of the samples that dwell at the extreme, in [0, 1].

    A sample counts if it lies in a run of three or more of one sign, each within 5 % of the level that the loudest 1 %
    of samples reach. Speech passes through its peaks; clipped speech stays there. The level is not the maximum, since
    resampling and lossy coding after the clipping overshoot it, and not full scale, since the gain may have been
    changed afterwards. A steady tone stays at its extremes as well, and counts as clipped. Where the level is within
    one step of 16 bits, as in silence, the share is 0.
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
