"""What an audio file says of itself: its format, and the tags of its container. Anyone can write those."""

import io
from contextlib import closing
from dataclasses import dataclass

import soundfile

from aasist_jax.audio.ffmpeg import Container, descriptor, find_container
from aasist_jax.audio.ffmpeg_process import CHILD_LIMITS, FfmpegProcess, find_ffmpeg
from aasist_jax.audio.source import AudioSource, BinaryFile, open_source, source_name
from aasist_jax.errors import AudioError

TAGS, TAG_LETTERS, TAG_BYTES = 50, 500, 1 << 16
"""The most tags that are kept, letters of each, and bytes that are read of them all."""


@dataclass(frozen=True)
class OwnWords:
    """What a file says of itself.

    Attributes:
        format: of the container and, where libsndfile tells, of the samples: `WAV, PCM_16`.
        kind: the container alone: `WAV`.
        decoder: the program or library that decodes it, and its version.
        tags: of the container, as they stand there: title, encoder, date and so on.
    """

    format: str
    kind: str
    decoder: str
    tags: dict[str, str]


def read_own_words(source: AudioSource) -> OwnWords:
    """Read format and tags of a recording that can be decoded.

    Raises:
        AudioError: it cannot be read.
    """
    name = source_name(source)
    try:
        with open_source(source, name) as raw:
            container = find_container(raw)
            raw.seek(0)
            return _by_ffmpeg(raw, name, container) if container else _by_libsndfile(raw)
    except (OSError, soundfile.LibsndfileError) as error:
        raise AudioError(f"{name}: cannot be read ({error})") from error


def _by_libsndfile(raw: BinaryFile) -> OwnWords:
    with soundfile.SoundFile(raw.fileno() if isinstance(raw, io.FileIO) else raw, closefd=False) as file:
        tags = _bounded(file.copy_metadata())
        version = f"libsndfile {soundfile.__libsndfile_version__}"
        return OwnWords(f"{file.format}, {file.subtype}", file.format, version, tags)


def _by_ffmpeg(raw: BinaryFile, name: str, container: Container) -> OwnWords:
    program = find_ffmpeg(f"{name}: {container.name}")
    with descriptor(raw) as source:
        arguments = [
            *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-protocol_whitelist", "file"),
            *("-codec_whitelist", ",".join(container.decoders), "-threads", "1", "-vn", "-sn", "-dn"),
            *("-f", container.demuxer, *container.options, "-i", f"file:/dev/fd/{source}"),
            *("-f", "ffmetadata", "pipe:1"),
        ]
        told = _output(program, arguments, source, name)
        version = _output(program, ["-version"], source, name).splitlines()
    return OwnWords(container.name, container.name, " ".join(version[0].split()[:3]), _bounded(_parsed(told)))


def _output(program: str, arguments: list[str], source: int, name: str) -> str:
    with closing(FfmpegProcess(program, arguments, source, name, CHILD_LIMITS)) as child:
        return child.read(TAG_BYTES).decode("utf-8", "replace")


def _parsed(told: str) -> dict[str, str]:
    """The tags in FFmpeg's metadata format: `name=value` lines, where a backslash keeps the letter after it."""
    tags: dict[str, str] = {}
    key, value, is_value, is_kept = "", "", False, False
    for letter in f"{told}\n":
        if is_kept:
            key, value, is_kept = (key, value + letter, False) if is_value else (key + letter, value, False)
        elif letter == "\\":
            is_kept = True
        elif letter == "=" and not is_value:
            is_value = True
        elif letter == "\n":
            if key.startswith("["):
                break  # of a chapter or a stream
            if is_value:
                tags.setdefault(key, value)
            key, value, is_value = "", "", False
        else:
            key, value = (key, value + letter) if is_value else (key + letter, value)
    return tags


def _bounded(tags: dict[str, str]) -> dict[str, str]:
    return {key[:TAG_LETTERS]: value[:TAG_LETTERS] for key, value in list(tags.items())[:TAGS]}
