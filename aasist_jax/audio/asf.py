"""ASF, the container of WMA (Advanced Systems Format Specification, 1.20): a header, and packets of one size."""

import io

from aasist_jax.audio.source import TO_THE_END, BinaryFile, TrackIndex
from aasist_jax.errors import AudioError

HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
DATA_HEADER_BYTES = 50
MAX_OBJECTS = 1 << 12
BROADCAST = 1
TICKS = 10_000_000
"""Ticks of the format a second."""


def is_asf(head: bytes) -> bool:
    """Whether the bytes begin an ASF file."""
    return head[:16] == HEADER


def read_asf(raw: BinaryFile, name: str) -> TrackIndex:
    """Check that all packets are there that the header states, and read how long the recording is.

    Raises:
        AudioError: no header with the properties of the file; packets are missing.
    """
    file_bytes = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    head = raw.read(30)
    end, at = int.from_bytes(head[16:24], "little"), 30
    properties = b""
    for _ in range(MAX_OBJECTS):
        if at + 24 > min(end, file_bytes) or properties:
            break
        raw.seek(at)
        content = raw.read(104)
        if content[:16] == FILE_PROPERTIES:
            properties = content
        at += max(int.from_bytes(content[16:24], "little"), 24)
    raw.seek(min(end, file_bytes))
    if len(properties) < 104 or raw.read(16) != DATA:
        raise AudioError(f"{name}: WMA whose header is damaged or truncated; get the whole file")
    packets, played, preroll = (int.from_bytes(properties[start : start + 8], "little") for start in (56, 64, 80))
    flags, smallest, largest, rate = (
        int.from_bytes(properties[start : start + 4], "little") for start in (88, 92, 96, 100)
    )
    if flags & BROADCAST or not packets:
        # A live recording states nothing: its length follows from its bit rate.
        seconds = (file_bytes - end) * 8 / rate if rate else 0
        return TrackIndex(TICKS, max(int(seconds * TICKS), 1), 0, ((0, TO_THE_END),))
    present = (file_bytes - end - DATA_HEADER_BYTES) // largest if largest and smallest == largest else 0
    if present < packets:
        raise AudioError(
            f"{name}: {max(present, 0)} of {packets} packets are there: damaged or truncated; get the whole file"
        )
    return TrackIndex(TICKS, min(max(played - preroll * 10_000, 1), TO_THE_END), 0, ((0, TO_THE_END),))
