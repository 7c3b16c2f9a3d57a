"""FLAC (RFC 9639): frames that follow one another by number, each with its checksum, and the MD5 of all samples."""

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile

from aasist_jax.audio.damage.checksums import crc8, crc16
from aasist_jax.audio.damage.tags import after_id3, without_end_tags
from aasist_jax.audio.source import BLOCK_VALUES, BinaryFile

PIECE_BYTES = 1 << 20

LARGEST_FRAME_BYTES = 1 << 22
"""No frame is larger: 65,535 samples of eight channels, 32 bits each, take 2 MiB as they are."""

HEADER_BYTES = 16
"""The longest frame header."""

MISFITS = 16
"""Bytes within a frame look like a frame header about once in an hour of audio. So many in a row mean damage."""

SYNC = re.compile(rb"\xff[\xf8\xf9]")

HEADER_RATES = (0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
HEADER_BITS = (0, 8, 12, 0, 16, 20, 24, 32)


@dataclass(frozen=True)
class _StreamInfo:
    """What the file states of itself; `start` is where its frames begin. 0 samples or an MD5 of zeros: not stated."""

    start: int
    rate: int
    channels: int
    bits: int
    samples: int
    md5: bytes


@dataclass(frozen=True)
class _Header:
    """A frame header: `number` counts frames where all have one length, else samples; 0: as the file states."""

    samples: int
    rate: int
    channels: int
    bits: int
    number: int
    is_variable: bool

    def contradicts(self, info: _StreamInfo) -> bool:
        return self.channels != info.channels or self.rate not in (0, info.rate) or self.bits not in (0, info.bits)


def find_flac_damage(raw: BinaryFile) -> str | None:
    """Say what is wrong: the order of its frames, a checksum, the count of samples, or their MD5."""
    info = _stream_info(raw)
    if info is None:
        return "its header (STREAMINFO) cannot be read"
    # libsndfile does not decode a FLAC of unknown length, nor one of other widths.
    is_summed = any(info.md5) and info.bits in (8, 16, 24) and info.samples > 0
    found = _check_frames(raw, info, is_summed)
    if found is not None or not is_summed:
        return found
    raw.seek(0)
    try:
        is_same = _md5(raw, info.bits) == info.md5
    except soundfile.LibsndfileError:
        is_same = False
    return None if is_same else "the MD5 of its samples is not the one that its header states"


def _stream_info(raw: BinaryFile) -> _StreamInfo | None:
    at = after_id3(raw, 0)
    raw.seek(at)
    if raw.read(4) != b"fLaC":
        return None
    content, at = b"", at + 4
    for _ in range(1 << 16):
        raw.seek(at)
        head = raw.read(4)
        if len(head) < 4 or head[0] & 0x7F == 127:
            return None
        if head[0] & 0x7F == 0:
            content = raw.read(34)
        at += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    if len(content) < 34:
        return None
    packed = int.from_bytes(content[10:18], "big")
    rate, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    return _StreamInfo(at, rate, channels, bits, packed & 0xF_FFFF_FFFF, content[18:34])


def _check_frames(raw: BinaryFile, info: _StreamInfo, is_summed: bool) -> str | None:
    """Walk the frames by their numbers. A run of sound frames has the checksum 0, so one checksum does for many."""
    raw.seek(info.start)
    buffer, looked, last = raw.read(PIECE_BYTES), 0, 0
    header = _read_header(buffer)
    if header is None:
        return "no frame follows its header"
    if header.contradicts(info):
        return "its header and its first frame state different sample rates, channels or bits"
    expected, samples, frames, misfits = 0, 0, 0, 0
    while True:
        for at, header in _headers(buffer, looked):
            if header.contradicts(info):
                continue
            if header.number == expected:
                last, misfits = at, 0
                samples, frames = samples + header.samples, frames + 1
                expected += header.samples if header.is_variable else 1
            elif not frames:
                return f"it begins with a frame of number {header.number}"
            elif crc16(buffer[last:at]) == 0:
                return f"frame {frames} is followed by one of number {header.number} where {expected} was due"
            else:
                misfits += 1
                if misfits > MISFITS:
                    return f"frame {frames} is damaged, or others after it are missing"
        # What may yet be the start of a header is looked at again.
        looked = max(last + 1, len(buffer) - HEADER_BYTES + 1)
        if last and crc16(buffer[:last]):
            return f"a frame up to number {frames} has a wrong checksum"
        buffer, looked, last = buffer[last:], looked - last, 0
        if len(buffer) > LARGEST_FRAME_BYTES:
            return f"no frame follows number {frames}"
        piece = raw.read(PIECE_BYTES)
        if not piece:
            break
        buffer += piece
    if info.samples and samples != info.samples:
        return f"its frames hold {samples} samples and not the {info.samples} that its header states"
    # Behind the last frame there may be anything, which is not heard; then the MD5 has to tell.
    if not is_summed and crc16(without_end_tags(buffer)):
        return "its last frame has a wrong checksum"
    return None


def _headers(buffer: bytes, start: int) -> Iterator[tuple[int, _Header]]:
    """What looks like a frame header, and where; near the end of the buffer, only what is whole."""
    for match in SYNC.finditer(buffer, start):
        at = match.start()
        header = _read_header(buffer[at : at + HEADER_BYTES])
        if header is not None:
            yield at, header


def _read_header(content: bytes) -> _Header | None:
    """The frame header that the content begins with; None where its checksum says that it is none."""
    if len(content) < 6 or content[0] != 0xFF or content[1] & 0xFE != 0xF8:
        return None
    size_code, rate_code, channel_code, bits_code = content[2] >> 4, content[2] & 15, content[3] >> 4, content[3] >> 1
    if not size_code or rate_code == 15 or channel_code > 10 or bits_code & 7 == 3 or content[3] & 1:
        return None
    # The number is coded like a letter in UTF-8, in up to 7 bytes.
    ones = 8 - (~content[4] & 0xFF).bit_length()
    if ones in (1, 8):
        return None
    at = 4 + max(ones, 1)
    number = content[4] & (0x7F >> ones)
    for byte in content[5:at]:
        number = number << 6 | byte & 0x3F
    size_bytes = {6: 1, 7: 2}.get(size_code, 0)
    rate_bytes = {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    size_field = int.from_bytes(content[at : at + size_bytes], "big")
    rate_field = int.from_bytes(content[at + size_bytes : at + size_bytes + rate_bytes], "big")
    end = at + size_bytes + rate_bytes + 1
    if len(content) < end or crc8(content[:end]):
        return None
    if size_bytes:
        samples = size_field + 1
    else:
        samples = 192 if size_code == 1 else 144 << size_code if size_code < 6 else 1 << size_code
    rate = rate_field * {12: 1000, 14: 10}.get(rate_code, 1) if rate_bytes else HEADER_RATES[rate_code]
    channels = channel_code + 1 if channel_code < 8 else 2
    return _Header(samples, rate, channels, HEADER_BITS[bits_code & 7], number, bool(content[1] & 1))


def _md5(raw: BinaryFile, bits: int) -> bytes:
    """The MD5 of the decoded samples as FLAC defines it: interleaved, signed, little-endian, of whole bytes."""
    digest = hashlib.md5(usedforsecurity=False)
    with soundfile.SoundFile(raw.fileno() if isinstance(raw, io.FileIO) else raw, closefd=False) as file:
        most, left = max(1, BLOCK_VALUES // file.channels), file.frames
        while left and len(block := file.read(min(most, left), dtype="int16" if bits <= 16 else "int32")):
            left -= len(block)
            values = np.ascontiguousarray(block, "<i2" if bits <= 16 else "<i4").view(np.uint8)
            values = values.reshape(-1, 2 if bits <= 16 else 4)
            # libsndfile fills up small samples with zeros at the low end.
            digest.update(values[:, -(bits // 8) :].tobytes())
    return digest.digest()
