"""Audio sources as they come in, and what every decoder makes of them."""

import io
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float32

from aasist_jax.errors import AudioError

BLOCK_VALUES = 1 << 18
"""Samples times channels decoded at once (1 MiB): no more is ever allocated on a header's word."""


TO_THE_END = 1 << 62
"""The end, in ticks, of a range that has none."""


@runtime_checkable
class BinaryFile(Protocol):
    """A file object opened in binary mode that can seek: an open file, io.BytesIO, a temporary file."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, or all."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position and tell it."""

    def tell(self) -> int:
        """The position."""

    def seekable(self) -> bool:
        """Whether `seek` works."""


AudioSource = str | os.PathLike[str] | BinaryFile | bytes | bytearray | memoryview
"""A path, a binary file object that can seek, or the content of a file."""

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://?(?P<rest>.+)", re.IGNORECASE | re.DOTALL)
_DOWNLOADED = ("http", "https", "ftp", "ftps", "sftp")
_STREAMED = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "mms")
_OTHER_ADDRESSES = ("file", "hf", "s3", "gs")


def is_source(value: object) -> bool:
    """Whether a value is an `AudioSource`."""
    return isinstance(value, str | os.PathLike | BinaryFile | bytes | bytearray | memoryview)


@dataclass(frozen=True)
class AudioStream:
    """An open recording: what its header states, and the samples as they are decoded.

    Attributes:
        sample_rate: in Hz, as decoded.
        channels: channels, as decoded.
        frames: stated length, or an estimate of it.
        blocks: the samples, full scale 1, once; raises an AudioError at the end of a truncated file.
        hidden: stated frames that are decoded as well but not heard, such as what an editor cut off.
    """

    sample_rate: int
    channels: int
    frames: int
    blocks: Iterator[Float32[np.ndarray, "frames channels"]]
    hidden: int = 0


@dataclass(frozen=True)
class TrackIndex:
    """What a container says of its audio track before anything is decoded. Times are in ticks.

    Attributes:
        timescale: ticks per second.
        ticks: stated length of what is heard, or an estimate of it.
        hidden: stated length of what is decoded but not heard.
        heard: the ranges of the decoded track that are heard, each from its first tick to the one after its last;
            ascending, without overlap. The others are the encoder's delay and filling, or were cut off by an editor.
        packets: count of packets, where they and `packet_ticks` are known; 0 otherwise.
        packet_ticks: length of each packet but the last.
    """

    timescale: int
    ticks: int
    hidden: int
    heard: tuple[tuple[int, int], ...]
    packets: int = 0
    packet_ticks: int = 0


def source_name(source: AudioSource) -> str:
    """How messages call the source: one printable line."""
    if isinstance(source, bytes | bytearray | memoryview):
        return f"audio of {len(source)} bytes"
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    if not isinstance(name, str):
        return "audio stream"
    return name if name.isprintable() else repr(name)


def address_advice(name: str) -> str:
    """For the address of a recording elsewhere: a message that says how to get it. '' for anything else.

    `https:/host/file`, what a path makes of an address, counts as well.
    """
    match = _ADDRESS.fullmatch(name)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in (*_DOWNLOADED, *_STREAMED, *_OTHER_ADDRESSES):
        return ""
    rest = match["rest"]
    address = f"{scheme}://{'/' + rest.lstrip('/') if scheme == 'file' else rest}"
    shown = address if address.isprintable() else repr(address)
    if scheme == "file":
        return f"{shown}: give the path instead of an address, {shlex.quote('/' + unquote(rest).lstrip('/'))}"
    file = shlex.quote(re.split(r"[?#]", rest)[0].rstrip("/").rpartition("/")[2] or "recording")
    quoted = shlex.quote(address)
    if scheme == "hf":
        owner, _, inside = rest.partition("/")
        name, _, path = inside.partition("/")
        way = f"`hf download {shlex.quote(f'{owner}/{name}')} {shlex.quote(path)}`".replace(" ''", " FILE")
    else:
        way = {
            "s3": f"`aws s3 cp {quoted} {file}`",
            "gs": f"`gcloud storage cp {quoted} {file}`",
            **dict.fromkeys(_DOWNLOADED, f"`curl -fLo {file} {quoted}`"),
            **dict.fromkeys(_STREAMED, f"`ffmpeg -i {quoted} -t 60 call.wav` (a minute of it)"),
        }[scheme]
    return f"{shown}: recordings are read from files and not from addresses; get it first, with {way}"


@contextmanager
def open_source(source: AudioSource, name: str) -> Iterator[BinaryFile]:
    """The bytes of a source; a file object of the caller's stays open.

    Raises:
        AudioError: no such file, no regular file, no binary file that can seek.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        if (advice := address_advice(os.fspath(source))) and not path.exists():
            raise AudioError(advice)
        # A pipe or a device could block for ever: only a regular file is opened.
        if not path.is_file():
            reason = "is a folder" if path.is_dir() else "not a file" if path.exists() else "no such file"
            raise AudioError(f"{name}: {reason}; give the path of an audio file")
        with path.open("rb", buffering=0) as raw:
            yield raw
    elif not is_source(source) or isinstance(source, io.TextIOBase) or not source.seekable():
        raise AudioError(f"{name}: give a file opened in binary mode that can seek, such as io.BytesIO")
    else:
        yield source
