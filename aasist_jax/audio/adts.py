"""Bare AAC (ADTS, ISO/IEC 14496-3): frames one after the other, each with a header, and no index."""

import io

from aasist_jax.audio.source import TO_THE_END, BinaryFile, TrackIndex

RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
"""Sample rates by their index in a header, in Hz."""

FRAME_SAMPLES = 1024
LOOKED_AT_BYTES = 4096


def is_adts(head: bytes) -> bool:
    """Whether the bytes begin as a frame: twelve ones, either version of MPEG, and layer 0, which tells it from MP3."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def estimate_length(raw: BinaryFile, name: str) -> TrackIndex:
    """Estimate the length, which nothing states, as if all frames were as large as those of the first 4 KB.

    Never fails: whether these are frames of AAC at all is left to the decoder.
    """
    file_bytes = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    start = raw.read(LOOKED_AT_BYTES)
    rate_index = start[2] >> 2 & 15 if len(start) > 2 else len(RATES)
    rate = RATES[rate_index] if rate_index < len(RATES) else RATES[0]
    frames = at = 0
    while is_adts(start[at : at + 2]) and at + 7 <= len(start):
        size = int.from_bytes(start[at + 3 : at + 6], "big") >> 5 & 0x1FFF
        if size < 7:
            break
        frames, at = frames + 1, at + size
    ticks = frames * FRAME_SAMPLES * file_bytes // at if frames else FRAME_SAMPLES
    return TrackIndex(rate, ticks, 0, ((0, TO_THE_END),))
