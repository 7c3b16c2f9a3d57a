"""Reads with the program `ffmpeg` what libsndfile cannot: M4A, MP4, MOV, bare AAC, WebM, Matroska, WMA, AMR, GSM."""

import io
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.adts import estimate_length, is_adts
from aasist_jax.audio.asf import is_asf, read_asf
from aasist_jax.audio.ffmpeg_process import CHILD_LIMITS, FfmpegProcess, find_ffmpeg, reason
from aasist_jax.audio.matroska import is_matroska, read_matroska
from aasist_jax.audio.mp4 import read_index
from aasist_jax.audio.phone import is_amr, is_gsm, read_amr, read_gsm
from aasist_jax.audio.source import BLOCK_VALUES, AudioStream, BinaryFile, TrackIndex
from aasist_jax.errors import AudioError

HEAD_BYTES = 512
"""How much of a file's start tells its container."""

AU_HEADER_BYTES = 24
AU_FLOAT32 = 6


@dataclass(frozen=True)
class Container:
    """A kind of file that FFmpeg reads for us. Our own look at the first bytes decides, never FFmpeg's.

    Attributes:
        name: what people call it.
        starts: whether these first bytes are of it.
        demuxer: FFmpeg's name of it.
        codecs: what is read in it, as people call them.
        decoders: those that may be used, by FFmpeg's names.
        index: checks the file, and gives what it states of its audio track.
        options: FFmpeg's options of the demuxer.
    """

    name: str
    starts: Callable[[bytes], bool]
    demuxer: str
    codecs: str
    decoders: tuple[str, ...]
    index: Callable[[BinaryFile, str], TrackIndex]
    options: tuple[str, ...] = ()


# Other files that an MP4 refers to are not opened; `read_index` has read the edit list.
_MP4_OPTIONS = ("-enable_drefs", "0", "-use_absolute_path", "0", "-ignore_editlist", "1", "-ignore_chapters", "1")

_MP4_DECODERS = ("aac", "alac", "opus", "amrnb", "amrwb")
_MATROSKA_DECODERS = ("opus", "vorbis", "aac", "flac", "mp3", "mp3float", "alac", "pcm_s16le", "pcm_s24le", "pcm_f32le")
_WMA_DECODERS = ("wmav1", "wmav2", "wmapro", "wmalossless", "wmavoice")

CONTAINERS = (
    Container(
        "M4A",
        lambda head: head[4:8] == b"ftyp",
        "mov",
        "AAC, ALAC, Opus and AMR are",
        _MP4_DECODERS,
        read_index,
        _MP4_OPTIONS,
    ),
    Container("AAC", is_adts, "aac", "AAC is", ("aac",), estimate_length),
    Container(
        "WebM",
        is_matroska,
        "matroska",
        "Opus, Vorbis, AAC, FLAC, MP3, ALAC and PCM are",
        _MATROSKA_DECODERS,
        read_matroska,
    ),
    Container("WMA", is_asf, "asf", "WMA is", _WMA_DECODERS, read_asf),
    Container("AMR", is_amr, "amr", "AMR is", ("amrnb", "amrwb"), read_amr),
    Container("GSM", is_gsm, "gsm", "GSM 06.10 is", ("gsm",), read_gsm),
)


def find_container(raw: BinaryFile) -> Container | None:
    """The container that FFmpeg is to read, or None where that is left to libsndfile."""
    raw.seek(0)
    head = raw.read(HEAD_BYTES)
    return next((container for container in CONTAINERS if container.starts(head)), None)


@contextmanager
def open_ffmpeg(raw: BinaryFile, name: str, container: Container) -> Iterator[AudioStream]:
    """Open the first audio track, in blocks: as it is decoded, never resampled nor down-mixed by FFmpeg.

    Other tracks, and files referred to, are not read. The child process ends with the context.

    Raises:
        AudioError: there is no ffmpeg; another codec; damaged; truncated; beyond the limits of the child process.
    """
    index = container.index(raw, name)
    program = find_ffmpeg(f"{name}: {container.name}")
    with (
        descriptor(raw) as source,
        closing(FfmpegProcess(program, _arguments(container, source), source, name, CHILD_LIMITS)) as child,
    ):
        rate, channels = _read_header(child, name, container)
        frames, hidden = index.ticks * rate // index.timescale, index.hidden * rate // index.timescale
        decoded = _blocks(child, channels, name, container)
        yield AudioStream(rate, channels, frames, _heard(decoded, index, rate, name), hidden)


def _arguments(container: Container, source: int) -> list[str]:
    """FFmpeg's command line. Options before `-i` hold for the input, those after it for the output."""
    return [
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+error"),
        "-xerror",  # the first error ends it
        *("-protocol_whitelist", "file", "-f", container.demuxer, *container.options),
        *("-codec_whitelist", ",".join(container.decoders), "-threads", "1"),
        *("-reinit_filter", "0"),  # a change of rate or channels is an error: else FFmpeg would resample
        *("-vn", "-sn", "-dn", "-i", f"file:/dev/fd/{source}"),
        *("-map", "0:a:0", "-map_metadata", "-1", "-map_chapters", "-1"),
        *("-c:a", "pcm_f32be", "-f", "au", "pipe:1"),
    ]


@contextmanager
def descriptor(raw: BinaryFile) -> Iterator[int]:
    """A descriptor of the bytes, at their start, for the child: of the opened file itself, else of an unlinked copy."""
    raw.seek(0)
    file = raw.raw if isinstance(raw, io.BufferedReader) else raw
    # Of a file object of another kind, a descriptor need not give the same bytes: not with gzip, for example.
    if isinstance(file, io.FileIO):
        yield file.fileno()
    else:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(raw, copy)
            copy.seek(0)
            yield copy.fileno()


def _read_header(child: FfmpegProcess, name: str, container: Container) -> tuple[int, int]:
    """Sample rate and channels, from the AU header that FFmpeg begins with."""
    header = child.read(AU_HEADER_BYTES)
    if len(header) < AU_HEADER_BYTES:
        raise _failure(child, name, container) or AudioError(f"{name}: holds no samples")
    offset, _, encoding, rate, channels = np.frombuffer(header, ">u4", 5, 4).tolist()
    if header[:4] != b".snd" or encoding != AU_FLOAT32 or not AU_HEADER_BYTES <= offset <= 1 << 16:
        raise AudioError(f"{name}: ffmpeg gives something else than the samples asked for; install another version")
    child.read(offset - AU_HEADER_BYTES)
    return rate, channels


def _blocks(
    child: FfmpegProcess, channels: int, name: str, container: Container
) -> Iterator[Float32[np.ndarray, "frames channels"]]:
    """What the child decodes, to its end; at the end, whatever it has to say."""
    frame_bytes, rest = 4 * channels, 0
    while content := child.read(max(1, BLOCK_VALUES // channels) * frame_bytes):
        rest = len(content) % frame_bytes
        if len(content) > rest:
            yield np.frombuffer(content, ">f4", (len(content) - rest) // 4).astype(np.float32).reshape(-1, channels)
    failure = _failure(child, name, container)
    if failure is not None:
        raise failure
    if rest:
        raise AudioError(f"{name}: ffmpeg stopped amid a sample; try again, or convert it, for example to FLAC")


def _heard(
    blocks: Iterator[Float32[np.ndarray, "frames channels"]], index: TrackIndex, rate: int, name: str
) -> Iterator[Float32[np.ndarray, "frames channels"]]:
    """Of all that is decoded, the ranges that are heard; at the end, the length is held against the stated one."""
    ranges = [(start * rate // index.timescale, end * rate // index.timescale) for start, end in index.heard]
    decoded = 0
    for block in blocks:
        while ranges and ranges[0][0] < decoded + len(block):
            start, end = ranges[0]
            piece = block[max(start - decoded, 0) : end - decoded]
            if len(piece):
                yield piece
            if end > decoded + len(block):
                break
            del ranges[0]
        decoded += len(block)
    packet = index.packet_ticks * rate / index.timescale
    stated = index.packets * packet
    # The last packet may be cut short by FFmpeg, and a decoder may give one more.
    if index.packets and not stated - packet - 1 <= decoded <= stated + packet + 1:
        raise AudioError(
            f"{name}: {decoded / rate:.2f} s can be decoded of {stated / rate:.2f} s that its index states: "
            "damaged or truncated; get the whole file"
        )


def _failure(child: FfmpegProcess, name: str, container: Container) -> AudioError | None:
    """The error that the end of the child process means; None where all went well."""
    status, said = child.finish()
    if status == 0:
        return None
    if re.search("Cannot allocate memory|Resource temporarily unavailable|failed to map segment", said):
        most = child.limits.memory_bytes >> 20
        return AudioError(f"{name}: ffmpeg would take over {most} MiB of memory; convert it, for example to FLAC")
    if status == -signal.SIGKILL:
        return AudioError(
            f"{name}: ffmpeg was killed, by its limit of {child.limits.cpu_seconds} s of processor time or for want of "
            "memory; convert the recording, for example to FLAC"
        )
    if status < 0:
        return AudioError(f"{name}: ffmpeg crashed (signal {-status}); convert the recording, for example to FLAC")
    other = re.search(r"Codec \((\w+)\) not on whitelist", said)
    if other:
        return AudioError(
            f"{name}: an audio track of type {other[1]}; in {container.name} files {container.codecs} read"
        )
    if "Changing audio frame properties on the fly" in said:
        return AudioError(f"{name}: changes its sample rate or channels on the way; convert it, for example to FLAC")
    if re.search("Unrecognized option|Option .* not found|Unknown (decoder|encoder|input format)", said):
        return AudioError(f"{name}: this ffmpeg cannot be used ({reason(said)}); install version 5.1 or a newer one")
    return AudioError(
        f"{name}: {container.name} that cannot be decoded, damaged or truncated ({reason(said)}); get the whole file"
    )
