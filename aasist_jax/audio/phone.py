"""Formats that phones record, AMR (RFC 4867) and GSM 06.10: frames of 20 ms one after the other, without an index."""

import io

from aasist_jax.audio.mp4 import MAX_PACKETS
from aasist_jax.audio.source import TO_THE_END, BinaryFile, TrackIndex
from aasist_jax.errors import AudioError

AMR_NARROW, AMR_WIDE = b"#!AMR\n", b"#!AMR-WB\n"
NARROW_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1)
WIDE_BYTES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1)
"""Bytes of a frame by its mode, the byte with the mode included; 0 for modes that do not exist."""

GSM_FRAME_BYTES = 33
GSM_SIGNATURE = 0xD
"""The upper half of the first byte of each frame of GSM."""

LOOKED_AT_FRAMES = 10
FRAME_SECONDS = 0.02
PIECE_BYTES = 1 << 20


def is_amr(head: bytes) -> bool:
    """Whether the bytes begin as AMR, narrow or wide band, of one channel."""
    return head.startswith((AMR_NARROW, AMR_WIDE))


def read_amr(raw: BinaryFile, name: str) -> TrackIndex:
    """Count the frames.

    Raises:
        AudioError: bytes that are no frame; a frame cut off; too many.
    """
    raw.seek(0)
    is_wide = raw.read(len(AMR_WIDE)) == AMR_WIDE
    raw.seek(len(AMR_WIDE) if is_wide else len(AMR_NARROW))
    sizes = WIDE_BYTES if is_wide else NARROW_BYTES
    at = frames = 0
    while piece := raw.read(PIECE_BYTES):
        while at < len(piece):
            size = sizes[piece[at] >> 3 & 15]
            frames += 1
            if not size or piece[at] & 0x83:
                raise AudioError(f"{name}: frame {frames} is none of AMR: damaged; get the whole file")
            if frames > MAX_PACKETS:
                raise AudioError(f"{name}: over {MAX_PACKETS} packets; split it")
            at += size
        at -= len(piece)
    if at:
        raise AudioError(f"{name}: ends amid a frame: truncated; get the whole file")
    rate = 16_000 if is_wide else 8_000
    return _frames(frames, rate)


def is_gsm(head: bytes) -> bool:
    """Whether the bytes are ten frames of GSM, by the four bits that each begins with: there is no other header."""
    firsts = head[: LOOKED_AT_FRAMES * GSM_FRAME_BYTES : GSM_FRAME_BYTES]
    return len(firsts) == LOOKED_AT_FRAMES and all(first >> 4 == GSM_SIGNATURE for first in firsts)


def read_gsm(raw: BinaryFile, name: str) -> TrackIndex:
    """Count the frames, by the size of the file.

    Raises:
        AudioError: a frame cut off; too many.
    """
    frames, rest = divmod(raw.seek(0, io.SEEK_END), GSM_FRAME_BYTES)
    if rest:
        raise AudioError(f"{name}: ends amid a frame: truncated; get the whole file")
    if frames > MAX_PACKETS:
        raise AudioError(f"{name}: over {MAX_PACKETS} packets; split it")
    return _frames(frames, 8_000)


def _frames(count: int, rate: int) -> TrackIndex:
    ticks = round(FRAME_SECONDS * rate)
    return TrackIndex(rate, count * ticks, 0, ((0, TO_THE_END),), count, ticks)
