"""Matroska and WebM (RFC 9559): elements within elements, which a browser writes as it records, without their sizes."""

import io
import struct
from collections.abc import Iterator

from aasist_jax.audio.mp4 import MAX_PACKETS
from aasist_jax.audio.source import TO_THE_END, BinaryFile, TrackIndex
from aasist_jax.errors import AudioError

EBML, SEGMENT, INFO, CLUSTER, BLOCK_GROUP = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1F43B675, 0xA0
TRACKS, TRACK, TRACK_NUMBER, TRACK_TYPE = 0x1654AE6B, 0xAE, 0xD7, 0x83
TIMESTAMP_SCALE, DURATION, TIMESTAMP, SIMPLE_BLOCK, BLOCK = 0x2AD7B1, 0x4489, 0xE7, 0xA3, 0xA1
OPENED = (SEGMENT, INFO, TRACKS, TRACK, CLUSTER, BLOCK_GROUP)
"""Elements of which the children are read; they may be of unknown size, and then end where the next one begins."""

MAX_ELEMENTS = 2 * MAX_PACKETS
AUDIO = 2
LAST_PACKET_MILLISECONDS = 20
"""How long the last packet is taken to last, where only its start is known."""


def is_matroska(head: bytes) -> bool:
    """Whether the bytes begin an EBML file."""
    return head[:4] == b"\x1aE\xdf\xa3"


def read_matroska(raw: BinaryFile, name: str) -> TrackIndex:
    """Check that all elements are there, and read how long the recording is, or lasts by its last block.

    Raises:
        AudioError: it ends amid an element; too many of them; it holds no audio track.
    """
    scale, stated, base, last = 1_000_000, 0.0, 0, -1
    number, audio = 0, -1
    for kind, content in _elements(raw, name):
        if kind == TIMESTAMP_SCALE:
            scale = int.from_bytes(content, "big")
        elif kind == DURATION and len(content) in (4, 8):
            stated = struct.unpack(">f" if len(content) == 4 else ">d", content)[0]
        elif kind == TRACK_NUMBER:
            number = int.from_bytes(content, "big")
        elif kind == TRACK_TYPE and int.from_bytes(content, "big") == AUDIO and audio < 0:
            audio = number
        elif kind == TIMESTAMP:
            base = int.from_bytes(content, "big")
        elif kind in (SIMPLE_BLOCK, BLOCK) and len(content) >= 4 and content[0] & 0x7F == audio:
            last = max(last, base + int.from_bytes(content[1:3], "big", signed=True))
    if audio < 0:
        raise AudioError(f"{name}: holds no audio track")
    milliseconds = last * scale / 1e6 + LAST_PACKET_MILLISECONDS if last >= 0 else 0.0
    if 0 < stated * scale / 1e6 < TO_THE_END:
        milliseconds = max(milliseconds, stated * scale / 1e6)
    return TrackIndex(1000, min(int(milliseconds), TO_THE_END), 0, ((0, TO_THE_END),))


def _elements(raw: BinaryFile, name: str) -> Iterator[tuple[int, bytes]]:
    """Every element below the file's own, with the first 16 bytes of its content; those of `OPENED` come without.

    They come one after the other, however deep they lie.
    """
    end = raw.seek(0, io.SEEK_END)
    at = count = 0
    while at < end:
        raw.seek(at)
        head = raw.read(32)
        id_bytes = 9 - head[0].bit_length()
        size_bytes = 9 - head[id_bytes].bit_length() if id_bytes < len(head) else 9
        start = id_bytes + size_bytes
        if id_bytes > 4 or size_bytes > 8 or start > len(head):
            raise AudioError(f"{name}: WebM or Matroska that is damaged or truncated; get the whole file")
        kind = int.from_bytes(head[:id_bytes], "big")
        unknown = (1 << 7 * size_bytes) - 1
        size = int.from_bytes(head[id_bytes:start], "big") & unknown
        is_open = kind in OPENED
        if (size == unknown and not is_open) or (size != unknown and at + start + size > end):
            raise AudioError(f"{name}: ends amid an element: truncated; get the whole file")
        count += 1
        if count > MAX_ELEMENTS:
            raise AudioError(f"{name}: over {MAX_ELEMENTS} elements; convert it, for example to FLAC")
        yield kind, b"" if is_open else head[start : start + min(size, 16)]
        at += start if is_open else start + size
