"""What the Detector takes as a recording: a file in any form, or samples with their rate."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.channels import channels_differ
from aasist_jax.audio.load import as_rate, as_samples, iter_audio, to_mono_16k, two_sides
from aasist_jax.audio.source import is_source
from aasist_jax.errors import AudioError


def recording_blocks(audio: Any, channel: int | None) -> Iterable[Float32[np.ndarray, " samples"]]:
    """The samples of a recording at 16 kHz, in blocks: the mean of all channels, or one of them.

    Raises:
        AudioError: it is none; or, while it is read, what `iter_audio` raises.
    """
    if _is_array(audio):
        return [to_mono_16k(as_samples(audio[0], "the audio"), as_rate(audio[1]), channel=channel)]
    if is_source(audio):
        return iter_audio(audio, channel=channel)
    way_out = "give a path, or (array, sample_rate) for samples in memory"
    if isinstance(audio, Iterable) and not hasattr(audio, "dtype"):
        way_out = "give one recording; `score_many` takes many of them, such as a list of paths"
    raise AudioError(f"cannot score {type(audio).__name__}: {way_out}")


def has_two_sides(audio: Any) -> bool:
    """Whether a recording that was read has two channels that differ, as the two sides of a call do."""
    if is_source(audio):
        return two_sides(audio)
    samples = as_samples(audio[0], "the audio")
    if samples.ndim != 2 or samples.shape[1] != 2:
        return False
    scale = -float(np.iinfo(samples.dtype).min) if samples.dtype.kind == "i" else 1.0
    return channels_differ([(samples / scale).astype(np.float32)], as_rate(audio[1]))


def _is_array(audio: Any) -> bool:
    return isinstance(audio, tuple) and len(audio) == 2 and not is_source(audio[0])
