"""Audio sources as they come in, and what every decoder makes of them."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.addresses import address_advice
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
