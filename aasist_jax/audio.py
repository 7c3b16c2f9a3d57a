"""Audio in: decode, down-mix, resample, and cut to windows. The only module that touches audio files.

Everything downstream hears 16 kHz mono float32, where a 16-bit sample s is s / 32768 exactly.
"""

import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32, Num

from aasist_jax.errors import AudioError

SAMPLE_RATE = 16_000
"""Samples per second of everything the models hear."""

MAX_SECONDS = 4 * 3600.0
"""Longest recording that is decoded, in seconds."""

MIN_RATE, MAX_RATE = 4_000, 384_000
MAX_CHANNELS = 32

BLOCK_VALUES = 1 << 22
"""Samples times channels decoded at once (16 MiB): no more is ever allocated on a header's word."""

MP3_TAG_BYTES = 8192
"""What may follow the last MP3 frame unread."""


@runtime_checkable
class _BinaryFile(Protocol):
    """A file object opened in binary mode that can seek: an open file, io.BytesIO, a temporary file."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def seekable(self) -> bool: ...


AudioSource = str | os.PathLike[str] | _BinaryFile


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


def load_audio(
    source: AudioSource, *, sample_rate: int = SAMPLE_RATE, max_seconds: float | None = None
) -> Float32[np.ndarray, "samples"]:
    """Decode a recording to mono float32 at `sample_rate`.

    Reads whatever libsndfile reads (WAV, FLAC, MP3, Ogg Vorbis, Opus, AIFF, ...). Channels are averaged;
    another rate is resampled with soxr (HQ). At the right rate the samples pass bit for bit. Values
    are neither clipped nor normalised: AASIST's scores depend on gain.

    Args:
        source: a path, or a binary file object that can seek; an object is read from its start.
        sample_rate: of the result, in Hz.
        max_seconds: a recording longer than this is an error (default `MAX_SECONDS`), never silently cut.

    Raises:
        AudioError: not a readable audio file; empty; truncated; NaN or infinite samples; a rate outside
            4 to 384 kHz; more than 32 channels; too long.
    """
    name = _name(source)
    with _opened(source, name) as (raw, file):
        blocks = _blocks(raw, file, name, MAX_SECONDS if max_seconds is None else max_seconds)
        return _mono(blocks, file.samplerate, sample_rate, name)


def to_mono_16k(array: Num[np.ndarray, "*shape"], sample_rate: int) -> Float32[np.ndarray, "samples"]:
    """Make mono float32 at 16 kHz of an array in memory, by the rules of `load_audio`.

    Args:
        array: (samples,) or (samples, channels); int16 and int32 are scaled to [-1, 1), floats are
            taken as they are.
        sample_rate: of `array`, in Hz.

    Raises:
        AudioError: another shape or type; no samples; NaN or infinity; a rate outside 4 to 384 kHz.
    """
    name = f"the array of shape {array.shape}"
    if array.ndim not in (1, 2):
        raise AudioError(f"{name}: expected (samples,) or (samples, channels)")
    frames = array[:, np.newaxis] if array.ndim == 1 else array
    if frames.shape[1] > MAX_CHANNELS and frames.shape[0] <= MAX_CHANNELS:
        raise AudioError(f"{name}: expected (samples, channels); transpose it")
    _check_format(name, sample_rate, frames.shape[1])
    if array.dtype in (np.int16, np.int32):
        frames = frames.astype(np.float32) * np.float32(1 / -float(np.iinfo(array.dtype).min))
    elif np.issubdtype(array.dtype, np.floating):
        with np.errstate(over="ignore"):  # what float32 cannot hold turns infinite, and is reported as such
            frames = frames.astype(np.float32)
    else:
        raise AudioError(f"{name}: samples of type {array.dtype}; give int16, int32 or floating-point samples")
    return _mono([frames], sample_rate, SAMPLE_RATE, name)


def inspect_audio(source: AudioSource) -> AudioInfo:
    """Read the header only: cheap, and blind to damage further in.

    Raises:
        AudioError: what `load_audio` can tell from a header: no such file, not audio, no samples, the limits.
    """
    name = _name(source)
    with _opened(source, name) as (_, file):
        if file.frames == 0:
            raise AudioError(f"{name}: holds no samples")
        return AudioInfo(file.samplerate, file.channels, file.frames)


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
    """`length` samples from a start drawn uniformly over all that fit (the official training rule, mended).

    A shorter clip is repeated as in `first_window`. The official code never draws the last start, and so
    crashes on a clip of exactly `length` samples; here such a clip is its own window.

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


def _name(source: AudioSource) -> str:
    """How messages call the source: one printable line."""
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    if not isinstance(name, str):
        return "audio stream"
    return name if name.isprintable() else repr(name)


@contextmanager
def _opened(source: AudioSource, name: str) -> Iterator[tuple[_BinaryFile, Any]]:
    """The raw bytes and libsndfile's view of them, with every failure inside turned into an AudioError."""
    try:
        with _raw(source, name) as raw:
            if raw.seek(0, io.SEEK_END) == 0:
                raise AudioError(f"{name}: the file is empty")
            raw.seek(0)
            # Given a path's descriptor, libsndfile reads by itself, and the suffix has no say.
            with soundfile.SoundFile(raw.fileno() if isinstance(raw, io.FileIO) else raw, closefd=False) as file:
                _check_format(name, file.samplerate, file.channels)
                yield raw, file
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".")
        raise AudioError(
            f"{name}: not audio that can be decoded, damaged, or of a wrong stated length ({reason}); "
            "convert it, for example to FLAC"
        ) from error
    except (OSError, TypeError, ValueError) as error:
        raise AudioError(f"{name}: cannot be read ({error})") from error


@contextmanager
def _raw(source: AudioSource, name: str) -> Iterator[_BinaryFile]:
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        # A pipe or a device could block for ever: only a regular file is opened.
        if not path.is_file():
            reason = "is a folder" if path.is_dir() else "not a file" if path.exists() else "no such file"
            raise AudioError(f"{name}: {reason}; give the path of an audio file")
        with path.open("rb", buffering=0) as raw:
            yield raw
    elif isinstance(source, io.TextIOBase) or not source.seekable():
        raise AudioError(f"{name}: give a file opened in binary mode that can seek, such as io.BytesIO")
    else:
        yield source


def _check_format(name: str, sample_rate: int, channels: int) -> None:
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"{name}: {sample_rate} Hz; sample rates from {MIN_RATE} to {MAX_RATE} Hz are read")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name}: {channels} channels; 1 to {MAX_CHANNELS} are read")


def _blocks(
    raw: _BinaryFile, file: soundfile.SoundFile, name: str, max_seconds: float
) -> Iterator[Float32[np.ndarray, "frames channels"]]:
    """Decode block by block, so that what is allocated follows what is there and not what a header claims."""
    read = 0
    while len(block := file.read(BLOCK_VALUES // file.channels, dtype="float32", always_2d=True)):
        read += len(block)
        if read > max_seconds * file.samplerate:
            raise AudioError(f"{name}: longer than the limit of {max_seconds:g} s; split it")
        yield block
    if not _is_complete(raw, file, read):
        raise AudioError(
            f"{name}: {read / file.samplerate:.2f} s can be decoded, which is not what its header states: "
            "truncated, or an MP3 without a length tag; get the whole file or convert it, for example to FLAC"
        )


def _is_complete(raw: _BinaryFile, file: Any, read: int) -> bool:
    """Whether `read` frames, all that libsndfile gave, are all that the header states and the file holds."""
    if file.format == "MP3":
        # Without a Xing or Info tag the length is libsndfile's estimate from the first frame; where that is
        # too low, decoding stops early. Only tags, of a few kilobytes, may rightly follow the last frame.
        position = raw.tell()
        unread = raw.seek(0, io.SEEK_END) - position
        return read >= 0.99 * file.frames and unread <= MP3_TAG_BYTES
    # In a truncated WAV or AIFF libsndfile corrects the length and notes so in its log. Lengths near 2 and 4
    # GiB are placeholders of programs that wrote to a pipe.
    corrected = re.search(r"^ ?(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    cut = corrected is not None and int(corrected[2]) + 1 < int(corrected[1]) < 0x7FFF_0000
    return read >= file.frames and not cut


def _mono(
    blocks: Iterable[Float32[np.ndarray, "frames channels"]], rate: int, sample_rate: int, name: str
) -> Float32[np.ndarray, "samples"]:
    """Average the channels, check, resample: the same result however the samples are cut into blocks."""
    resampler = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, "float32", "HQ")
    chunks = [np.zeros(0, np.float32)]
    for block in blocks:
        with np.errstate(over="ignore", invalid="ignore"):  # judged right below
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        if not np.isfinite(mono).all():
            raise AudioError(f"{name}: holds NaN or infinite samples; repair or leave out the recording")
        chunks.append(resampler.resample_chunk(np.ascontiguousarray(mono)) if resampler else mono)
    if resampler:
        chunks.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    wave = np.concatenate(chunks)
    if wave.size == 0:
        raise AudioError(f"{name}: holds no samples at {sample_rate} Hz")
    if not np.isfinite(wave).all():
        raise AudioError(f"{name}: samples too large to resample; scale the recording to [-1, 1]")
    return wave
