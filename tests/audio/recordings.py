"""Recordings made by code, whole, in every format that is read."""

import importlib.util
import io
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

RATE = 16_000


def container_and_subtype(kind: str) -> tuple[str, str]:
    """What libsndfile calls a kind of file and its usual encoding, given the ending of its name."""
    if kind == "opus":
        return "OGG", "OPUS"
    return kind.upper(), soundfile.default_subtype(kind.upper())


def voice(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Noise that swells and ebbs like syllables, (samples, channels) in [-0.5, 0.5]; no two channels alike."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (time.size, channels))
    return noise * np.sin(2 * np.pi * 3 * time + 1)[:, None] ** 2


def encoded(
    samples: np.ndarray, rate: int = RATE, kind: str = "wav", subtype: str | None = None, **options: Any
) -> bytes:
    """The bytes of a file; written in pieces, since libsndfile's Vorbis encoder crashes on a long one at once."""
    container, usual = container_and_subtype(kind)
    stream = io.BytesIO()
    samples = samples[:, None] if samples.ndim == 1 else samples
    with soundfile.SoundFile(
        stream, "w", rate, samples.shape[1], subtype or usual, format=container, **options
    ) as file:
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])
    return stream.getvalue()


def silent(seconds: int, rate: int = RATE, channels: int = 1, kind: str = "flac") -> bytes:
    """Digital silence of any length, written second by second."""
    container, subtype = container_and_subtype(kind)
    stream = io.BytesIO()
    second = np.zeros((rate * 10, channels), np.int16)
    with soundfile.SoundFile(stream, "w", rate, channels, subtype, format=container) as file:
        for _ in range(seconds // 10):
            file.write(second)
    return stream.getvalue()


def m4a(samples: np.ndarray, rate: int = RATE, kind: str = "ipod", codec: str = "aac", **options: str) -> bytes:
    """The bytes of an M4A file (`ipod`), of bare AAC (`adts`), or of another container; options are FFmpeg's.

    One FFmpeg encodes whatever is under test decodes, and each recording once.
    """
    samples = samples[:, None] if samples.ndim == 1 else samples
    return _by_ffmpeg(samples.astype(np.float32).tobytes(), samples.shape[1], rate, kind, codec, tuple(options.items()))


@cache
def _by_ffmpeg(
    samples: bytes, channels: int, rate: int, kind: str, codec: str, options: tuple[tuple[str, str], ...]
) -> bytes:
    muxer = [word for key, value in options for word in (f"-{key}", value)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoded"
        command = [PROGRAMS[0], "-v", "error", "-f", "f32le", "-ar", str(rate), "-ac", str(channels), "-i", "pipe:0"]
        command += ["-c:a", codec, "-fflags", "+bitexact", "-flags:a", "+bitexact", *muxer, "-f", kind, str(path)]
        subprocess.run(command, input=samples, check=True, stderr=subprocess.PIPE)
        return path.read_bytes()


def _programs() -> list[str]:
    """Each `ffmpeg` there is: on the path, and of the extra."""
    found = [shutil.which("ffmpeg")]
    if importlib.util.find_spec("imageio_ffmpeg"):
        import imageio_ffmpeg

        found.append(imageio_ffmpeg.get_ffmpeg_exe())
    return [program for program in dict.fromkeys(found) if program]


PROGRAMS = _programs()


def needs_ffmpeg() -> None:
    """Skip a test where there is no `ffmpeg`; `.ci/run` fails where this reason is given."""
    if not PROGRAMS:
        pytest.skip("the extra `ffmpeg` is not installed")


def ffmpeg_programs() -> list[Any]:
    """Parameters of the fixture `ffmpeg`: a test runs with each program that there is."""
    if not PROGRAMS:
        return [pytest.param("", marks=pytest.mark.skip("the extra `ffmpeg` is not installed"))]
    return [pytest.param(program, id="extra" if "imageio" in program else "path") for program in PROGRAMS]


def ogg_pages(data: bytes) -> list[bytearray]:
    """The pages of an Ogg file (RFC 3533), as far as they are whole."""
    pages = []
    at = 0
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        body = at + 27 + data[at + 26]
        end = body + sum(data[at + 27 : body])
        pages.append(bytearray(data[at:end]))
        at = end
    return pages


def with_checksum(page: bytearray) -> bytearray:
    """The page with the checksum that its content calls for."""
    page[22:26] = bytes(4)
    checksum = 0
    for byte in page:
        checksum = (checksum << 8 & 0xFFFF_FFFF) ^ CRC_TABLE[checksum >> 24 ^ byte]
    page[22:26] = checksum.to_bytes(4, "little")
    return page


def _crc_entry(value: int) -> int:
    value <<= 24
    for _ in range(8):
        value = (value << 1 ^ (0x04C1_1DB7 if value & 0x8000_0000 else 0)) & 0xFFFF_FFFF
    return value


CRC_TABLE = [_crc_entry(value) for value in range(256)]
