"""Audio in: decode, down-mix and resample. Whatever in this package reads an audio file reads it here.

All models are given 16 kHz mono float32, where a 16-bit sample s is s / 32768 exactly.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soxr
from jaxtyping import Float32, Num

from aasist_jax.audio.channels import channels_differ
from aasist_jax.audio.ffmpeg import find_container, open_ffmpeg
from aasist_jax.audio.limits import DEFAULT_LIMITS as DEFAULT_LIMITS
from aasist_jax.audio.limits import SAMPLE_RATE as SAMPLE_RATE
from aasist_jax.audio.limits import Limits as Limits
from aasist_jax.audio.sound_file import open_sound_file
from aasist_jax.audio.source import AudioSource, AudioStream, open_source, source_name
from aasist_jax.errors import AudioError


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header states; the samples themselves have not been read."""

    sample_rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """Stated duration."""
        return self.frames / self.sample_rate


def iter_audio(
    source: AudioSource, *, channel: int | None = None, limits: Limits = DEFAULT_LIMITS
) -> Iterator[Float32[np.ndarray, "samples"]]:
    """Decode a recording, block by block, to mono float32 at 16 kHz; memory does not grow with its length.

    Reads whatever libsndfile reads (WAV, FLAC, MP3, Ogg Vorbis, Opus, AIFF, ...), and M4A, MP4, AAC, WebM, Matroska,
    WMA, AMR and GSM where there is the program `ffmpeg`, on the path or from the extra `ffmpeg`. Channels are averaged,
    or one is taken; another rate is resampled with soxr (HQ). At the right rate the samples pass bit for bit. Values
    are neither clipped nor normalised, since a model's scores can depend on the gain.

    That a file is truncated shows only at its end: do not judge by the first blocks before the last one has come.

    Args:
        source: a path, or a binary file object that can seek; an object is read from its start.
        channel: the one to hear, from 0; default: the mean of all. On a stereo call each is one speaker.
        limits: what breaks one is an error, never silently cut.

    Yields:
        (samples,), never empty, in [-1, 1] but for floating-point and lossy sources.

    Raises:
        AudioError: once iterated: not a readable audio file; empty; truncated; NaN or infinite samples; no such
            channel; beyond a limit.
    """
    name = source_name(source)
    with _opened(source, name, limits) as stream:
        yield from _at_16k(_mono(stream.blocks, stream.channels, channel, name), stream.sample_rate, name)


def load_audio(
    source: AudioSource, *, channel: int | None = None, limits: Limits = DEFAULT_LIMITS
) -> Float32[np.ndarray, "samples"]:
    """Decode a whole recording to mono float32 at 16 kHz: the blocks of `iter_audio`, joined.

    Returns:
        (samples,), in [-1, 1] but for floating-point and lossy sources.

    Raises:
        AudioError: as `iter_audio`.
    """
    return np.concatenate(list(iter_audio(source, channel=channel, limits=limits)))


def load_start(
    source: AudioSource, samples: int, *, channel: int | None = None, limits: Limits = DEFAULT_LIMITS
) -> tuple[Float32[np.ndarray, "start"], int]:
    """Decode a recording to its end, as `load_audio` does, and keep only the first `samples` samples.

    Returns:
        (at most samples,), and the count of samples of the whole recording.

    Raises:
        AudioError: as `load_audio`; a fault behind the start counts as well.
        ValueError: `samples` is not positive.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, not {samples}")
    kept: list[np.ndarray] = []
    length = 0
    for block in iter_audio(source, channel=channel, limits=limits):
        if length < samples:
            kept.append(block[: samples - length])
        length += block.size
    return np.concatenate(kept), length


def load_channels(source: AudioSource, *, limits: Limits = DEFAULT_LIMITS) -> Iterator[Float32[np.ndarray, "samples"]]:
    """Every channel of a recording as `load_audio` gives it, one after the other; decodes anew for each.

    Yields:
        (samples,) for each channel, in the file's order.

    Raises:
        AudioError: as `load_audio`.
    """
    for channel in range(inspect_audio(source, limits=limits).channels):
        yield load_audio(source, channel=channel, limits=limits)


def two_sides(source: AudioSource, *, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Whether a recording has two channels that differ, as the two sides of a call do (`channels.channels_differ`).

    Raises:
        AudioError: as `load_audio`.
    """
    name = source_name(source)
    with _opened(source, name, limits) as stream:
        return stream.channels == 2 and channels_differ(stream.blocks, stream.sample_rate)


def to_mono_16k(
    array: Num[np.ndarray, "*shape"], sample_rate: int, *, channel: int | None = None, limits: Limits = DEFAULT_LIMITS
) -> Float32[np.ndarray, "samples"]:
    """Make mono float32 at 16 kHz of an array in memory, by the rules of `load_audio`.

    Args:
        array: (samples,) or (samples, channels); int16 and int32 are scaled to [-1, 1), floats are
            taken as they are.
        sample_rate: of `array`, in Hz.
        channel: as in `iter_audio`.
        limits: as in `iter_audio`, but for those on bytes.

    Returns:
        (samples,).

    Raises:
        AudioError: another shape or type; no samples; NaN or infinity; no such channel; beyond a limit.
    """
    name = f"the array of shape {array.shape}"
    if array.ndim not in (1, 2):
        raise AudioError(f"{name}: expected (samples,) or (samples, channels)")
    frames = array[:, np.newaxis] if array.ndim == 1 else array
    if frames.shape[1] > limits.channels and frames.shape[0] <= limits.channels:
        raise AudioError(f"{name}: expected (samples, channels); transpose it")
    limits.check_format(name, sample_rate, frames.shape[1])
    limits.check_length(name, frames.shape[0], sample_rate, frames.shape[1], array.nbytes)
    if array.dtype in (np.int16, np.int32):
        frames = frames.astype(np.float32) * np.float32(1 / -float(np.iinfo(array.dtype).min))
    elif np.issubdtype(array.dtype, np.floating):
        with np.errstate(over="ignore"):  # what float32 cannot hold turns infinite, and is reported as such
            frames = frames.astype(np.float32)
    else:
        raise AudioError(f"{name}: samples of type {array.dtype}; give int16, int32 or floating-point samples")
    return np.concatenate(list(_at_16k(_mono([frames], frames.shape[1], channel, name), sample_rate, name)))


def as_samples(values: Any, name: str) -> Num[np.ndarray, "*shape"]:
    """Anything that NumPy takes for an array of real numbers, as that array.

    Raises:
        AudioError: something else.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        raise AudioError(f"{name}: expected an array of numbers, got {type(values).__name__}") from None
    if array.dtype.kind not in "iuf":
        raise AudioError(f"{name}: expected samples that are real numbers, got type {array.dtype}")
    return array


def as_rate(sample_rate: Any) -> int:
    """A sample rate, which is a whole number.

    Raises:
        AudioError: something else.
    """
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer):
        raise AudioError(f"the sample rate: expected a whole number of Hz, got {sample_rate!r}")
    return int(sample_rate)


def inspect_audio(source: AudioSource, *, limits: Limits = DEFAULT_LIMITS) -> AudioInfo:
    """Read the header only: cheap, and blind to damage further in.

    The length is what the header states; bare AAC states none, and it is estimated from the first frames.

    Raises:
        AudioError: what `load_audio` can tell from a header: no such file, not audio, no samples, the limits.
    """
    name = source_name(source)
    with _opened(source, name, limits) as stream:
        if stream.frames == 0:
            raise AudioError(f"{name}: holds no samples")
        return AudioInfo(stream.sample_rate, stream.channels, stream.frames)


@contextmanager
def _opened(source: AudioSource, name: str, limits: Limits) -> Iterator[AudioStream]:
    """The decoder that can read the source, within the limits, with every failure turned into an AudioError."""
    try:
        with open_source(source, name) as raw:
            encoded_bytes = raw.seek(0, io.SEEK_END)
            limits.check_size(name, encoded_bytes)
            container = find_container(raw)
            raw.seek(0)
            with open_ffmpeg(raw, name, container) if container else open_sound_file(raw, name) as stream:
                limits.check_format(name, stream.sample_rate, stream.channels)
                for frames in (stream.frames, stream.hidden):
                    limits.check_length(name, frames, stream.sample_rate, stream.channels, encoded_bytes)
                yield replace(stream, blocks=_within(limits, stream, name, encoded_bytes))
    except (OSError, TypeError, ValueError, MemoryError) as error:
        raise AudioError(f"{name}: cannot be read ({error})") from error


def _within(
    limits: Limits, stream: AudioStream, name: str, encoded_bytes: int
) -> Iterator[Float32[np.ndarray, "frames channels"]]:
    """Hold what is really decoded to the limits, whatever the header stated."""
    frames = 0
    for block in stream.blocks:
        frames += len(block)
        limits.check_length(name, frames, stream.sample_rate, stream.channels, encoded_bytes)
        yield block


def _mono(
    blocks: Iterable[Float32[np.ndarray, "frames channels"]], channels: int, channel: int | None, name: str
) -> Iterator[Float32[np.ndarray, "frames"]]:
    """Take one channel or the mean of all."""
    if channel is not None and not 0 <= channel < channels:
        raise AudioError(f"{name}: no channel {channel}; there are {channels}, counted from 0")
    for block in blocks:
        if channel is not None or channels == 1:
            mono = block[:, channel or 0]
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # judged right below
                mono = block.mean(axis=1)
        if not np.isfinite(mono).all():
            raise AudioError(f"{name}: holds NaN or infinite samples; repair or leave out the recording")
        yield mono


def _at_16k(
    blocks: Iterable[Float32[np.ndarray, "frames"]], rate: int, name: str
) -> Iterator[Float32[np.ndarray, "samples"]]:
    """Resample to 16 kHz and check: the same result however the samples are cut into blocks."""
    length = 0
    for block in blocks if rate == SAMPLE_RATE else _resampled(blocks, rate):
        length += block.size
        if not np.isfinite(block).all():
            raise AudioError(f"{name}: samples too large to resample; scale the recording to [-1, 1]")
        if block.size:
            yield block
    if length == 0:
        raise AudioError(f"{name}: holds no samples at {SAMPLE_RATE} Hz")


def _resampled(blocks: Iterable[Float32[np.ndarray, "frames"]], rate: int) -> Iterator[Float32[np.ndarray, "samples"]]:
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", "HQ")
    for block in blocks:
        yield resampler.resample_chunk(np.ascontiguousarray(block))
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
