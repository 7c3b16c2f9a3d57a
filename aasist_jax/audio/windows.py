"""Cut recordings to the windows that a model hears."""

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.limits import DEFAULT_LIMITS as DEFAULT_LIMITS
from aasist_jax.audio.limits import SAMPLE_RATE as SAMPLE_RATE
from aasist_jax.audio.limits import Limits as Limits
from aasist_jax.errors import AudioError


def first_window(wave: Float32[np.ndarray, "samples"], length: int) -> Float32[np.ndarray, "length"]:
    """The first `length` samples; a shorter clip is repeated end to end (the official evaluation rule).

    Raises:
        AudioError: `wave` is empty.
    """
    if wave.size == 0:
        raise AudioError("a clip without samples cannot fill a window")
    return np.resize(wave[:length], length)


def random_window(
    wave: Float32[np.ndarray, "samples"], length: int, rng: np.random.Generator
) -> Float32[np.ndarray, "length"]:
    """`length` samples from a start drawn uniformly over all that fit (the official training rule, corrected).

    A shorter clip is repeated as in `first_window`. The official code never draws the last possible start, and so
    crashes on a clip of exactly `length` samples; here such a clip is returned whole.

    Raises:
        AudioError: `wave` is empty.
    """
    start = int(rng.integers(0, wave.size - length, endpoint=True)) if wave.size > length else 0
    return first_window(wave[start:], length)


def window_starts(samples: int, length: int, hop: int | None = None) -> list[int]:
    """Where windows of `length` samples start so that together they cover a clip of `samples` samples.

    They start every `hop` samples (default `length`); one more, anchored to the clip's end, covers the rest.

    Raises:
        ValueError: `hop` is not in 1..length, so that samples would be left out.
    """
    hop = length if hop is None else hop
    if not 1 <= hop <= length:
        raise ValueError(f"hop must be between 1 and the window length {length}, not {hop}")
    last = max(samples - length, 0)
    starts = list(range(0, last + 1, hop))
    return starts if starts[-1] == last else [*starts, last]


def all_windows(
    wave: Float32[np.ndarray, "samples"], length: int, hop: int | None = None
) -> Float32[np.ndarray, "windows length"]:
    """Every window of `window_starts`; a clip shorter than `length` gives one window, repeated to fill.

    Raises:
        AudioError: `wave` is empty.
    """
    return np.stack([first_window(wave[start:], length) for start in window_starts(wave.size, length, hop)])
