"""The words for the condition of a recording, found without a model, and the measures behind them.

A score of a `silent` or `constant` recording would mean nothing, and there is none. A `damaged`, `short` or `clipped`
one is scored, but less reliably. The first of these that holds is said (`aasist_jax.detection.cutting` finds it):

- `silent`: no sample is beyond one step of 16 bits (2**-15, -90 dBFS).
- `constant`: a DC line; all samples lie within two steps of 16 bits. For this and for `silent`, the first and last
  20 ms are left out if there are at least 80 ms.
- `damaged`: the file is, as `aasist_jax.audio.damage.find_damage` tells.
- `short`: less than 0.5 s.
- `clipped`: heavily clipped; 2.5 % or more of the samples dwell at the extreme.
- `ok`: none of these.

A sample dwells at the extreme if it lies in a run of three or more of one sign, each within 5 % of the level that the
loudest 1 % of samples reach. Speech passes through its peaks; clipped speech stays there. The level is not the maximum,
since resampling and lossy coding after the clipping overshoot it, and not full scale, since the gain may have been
changed afterwards. A steady tone stays at its extremes as well, and counts as clipped. Where the level is within one
step of 16 bits, as in silence, no sample does.
"""

from typing import Literal

from aasist_jax.audio.limits import SAMPLE_RATE

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
