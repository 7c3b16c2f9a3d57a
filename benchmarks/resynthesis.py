"""Copies by each vocoder: what they cost on one core, and how far they are from their recordings."""

import statistics
import time
from functools import partial
from importlib.util import find_spec

import jax
import numpy as np

from aasist_jax.features.log_mel import log_mel
from aasist_jax.models.ssl.resynthesis import resynthesis_kinds
from benchmarks.inputs import RATE, recording
from benchmarks.options import Options
from benchmarks.rounds import Table, spread

SAMPLES, WAVES = 64_600, 20
"""Samples of a window, and how many of them are copied in a round."""

RANGE = 40
"""Frames that lie more dB than this below the loudest of their recording are not compared."""


def resynthesis(options: Options) -> list[Table]:
    """Processor time by turns, and distances of log-mel spectra."""
    waves = recording(options, WAVES * SAMPLES / RATE).astype(np.float32).reshape(WAVES, SAMPLES)
    kinds = [kind for name, kind in resynthesis_kinds().items() if name != "world" or find_spec("pyworld")]
    copying = {kind.name: partial(jax.jit(kind.build(kind.config_type())), waves, None) for kind in kinds}
    copies = {name: np.asarray(copy()) for name, copy in copying.items()}
    milliseconds: dict[str, list[float]] = {name: [] for name in copying}
    for _ in range(options.rounds):
        for name, copy in copying.items():
            began = time.process_time()
            jax.block_until_ready(copy())
            milliseconds[name].append(1e3 * (time.process_time() - began) / WAVES)
    rows = [
        (name, *spread(found), 1e3 / statistics.median(found), *_distances(waves, copies[name]))
        for name, found in milliseconds.items()
    ]
    columns = "ms:.1f | lowest:.1f | highest:.1f | clips/s on one core:.1f | log-mel distance (dB):.2f"
    columns = f"kind | {columns} | mel-cepstral distance (dB):.2f | level (dB):.2f"
    return [Table(f"resynthesis, windows of {SAMPLES} samples", columns, rows)]


def _distances(waves: np.ndarray, copies: np.ndarray) -> tuple[float, float, float]:
    """The root of the mean squared difference of 80 bands; of cepstral coefficients 1 to 24 alone; the mean one."""
    from scipy.fft import dct

    # Whisper's scale: (log10 of the power + 4) / 4.
    levels, of_copies = (40 * np.asarray(jax.jit(log_mel)(x)) - 40 for x in (waves, copies))
    loudness = levels.mean(axis=2)
    compared = loudness > loudness.max(axis=1, keepdims=True) - RANGE
    difference = (of_copies - levels)[compared]
    cepstrum = dct(difference, norm="ortho")[:, 1:25]
    whole, shape = (np.sqrt(np.square(x).sum(axis=1) / difference.shape[1]).mean() for x in (difference, cepstrum))
    return float(whole), float(shape), float(difference.mean())
