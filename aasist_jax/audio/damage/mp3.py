"""MPEG audio (ISO/IEC 11172-3 and 13818-3): frames that follow one another, and a Xing, Info or VBRI tag's counts."""

from dataclasses import dataclass

from aasist_jax.audio.damage.checksums import crc16_reflected, reversed_bits
from aasist_jax.audio.damage.tags import ID3_HEADER_BYTES, after_id3, id3_bytes, without_end_tags
from aasist_jax.audio.source import BinaryFile

PIECE_BYTES = 1 << 20
LARGEST_FRAME_BYTES = 1 << 13
TAGS_BYTES = 1 << 24
"""Most that tags at the end may take, such as an APE tag with a picture."""

TAGS_AMID = 256
"""Most tags amid the frames, one for each file that was joined; each is a new look into the file."""

RATES = (44_100, 48_000, 32_000)
KBITS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates by their index in a header, for (version, layer); layers 2 and 3 of version 2 have the same."""

SAME_IN_ALL = 0xFFFE_0C00
"""Sync, version, layer and sample rate: what no frame changes."""

LAME_TAG_BYTES = 36
"""From the encoder's name to the checksum of the tag itself."""


@dataclass(frozen=True)
class _Tag:
    """What the first frame states of the others: their count, their bytes with its own, and their checksum."""

    frames: int | None
    size: int | None
    music_checksum: int | None


def _frame_bytes(header: int) -> int:
    """The length of the frame with this header; 0 where it is none, or where it states no bit rate."""
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    rate_index, kbit_index = header >> 10 & 3, header >> 12 & 15
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or rate_index == 3 or kbit_index == 15:
        return 0
    kbits = KBITS[1 if version == 3 else 2, layer if version == 3 else min(layer, 2)][kbit_index]
    rate = RATES[rate_index] >> (2, 0, 1, 0)[version]
    padding = header >> 9 & 1
    if layer == 1:
        return (12_000 * kbits // rate + padding) * 4 if kbits else 0
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples * 125 * kbits // rate + padding if kbits else 0


def find_mp3_damage(raw: BinaryFile) -> str | None:
    """Say what is wrong: bytes that are no frame, or frames that are not as many, as large or the same as stated."""
    at = after_id3(raw, 0)
    raw.seek(at)
    first = raw.read(LARGEST_FRAME_BYTES)
    zeros = len(first) - len(first.lstrip(b"\0"))
    at, first = at + zeros, first[zeros:]
    header = int.from_bytes(first[:4], "big")
    size = _frame_bytes(header)
    if not size:
        # A frame that states no bit rate has a length that cannot be known from it.
        return None if header >> 21 == 0x7FF and header >> 12 & 15 == 0 else "it begins with bytes that are no frame"
    tag = _read_tag(first[:size], header)
    start = at if tag is None else at + size
    # A checksum of all frames tells more than their reservoir, and is faster.
    reservoir = _Reservoir(header) if tag is None or tag.music_checksum is None else None
    found, frames, end, checksum = _walk(raw, start, header & SAME_IN_ALL, reservoir)
    if found is not None or tag is None:
        return found
    is_size_stated = tag.size is not None and end - start in (tag.size, tag.size - size)
    # Some encoders count the frame with the tag as well.
    if tag.frames is not None and frames != tag.frames and not (frames + 1 == tag.frames and is_size_stated):
        return f"there are {frames} frames of the {tag.frames} that its first frame states"
    if tag.music_checksum is not None and checksum != tag.music_checksum:
        return "the checksum of its frames is not the one that its first frame states"
    return None


def _walk(raw: BinaryFile, start: int, same: int, reservoir: "_Reservoir | None") -> tuple[str | None, int, int, int]:
    """Go from frame to frame: what is wrong, how many there are, where they end, their checksum."""
    raw.seek(start)
    buffer, base, at, frames, state, tags = raw.read(PIECE_BYTES), start, 0, 0, 0, 0
    while True:
        if len(buffer) - at < LARGEST_FRAME_BYTES:
            state = crc16_reflected(buffer[:at], state)
            base, buffer, at = base + at, buffer[at:] + raw.read(PIECE_BYTES), 0
        header = int.from_bytes(buffer[at : at + 4], "big")
        size = _frame_bytes(header)
        if not size or header & SAME_IN_ALL != same:
            tag = id3_bytes(buffer[at : at + ID3_HEADER_BYTES])
            if not tag:
                break
            tags += 1
            if tags > TAGS_AMID:
                return f"there are over {TAGS_AMID} tags amid its frames", frames, base + at, state
            # Files that were joined have a tag amid their frames.
            state = crc16_reflected(buffer[:at], state)
            base, at = base + at + tag, 0
            raw.seek(base)
            buffer = raw.read(PIECE_BYTES)
            continue
        if at + size > len(buffer):
            return f"its last frame, number {frames + 1}, is cut off", frames, base + at, state
        frames += 1
        if reservoir is not None and not reservoir.follows(buffer[at : at + size]):
            return f"frame {frames} is not the one after frame {frames - 1}", frames, base + at, state
        at += size
    state = crc16_reflected(buffer[:at], state)
    rest = without_end_tags(buffer[at:] + raw.read(TAGS_BYTES)).strip(b"\0")
    found = f"what follows frame {frames} is no frame" if rest else None
    return found, frames, base + at, reversed_bits(state, 16)


class _Reservoir:
    """The bytes of earlier frames that frames of layer 3 may go back to: those that no frame before has used.

    Where a frame was dropped or another one put in its place, the next one often goes back further than it can.
    """

    def __init__(self, header: int) -> None:
        self._is_layer_3 = header >> 17 & 3 == 1
        self._free: int | None = None  # unknown before the first frame: a recording may begin amid a stream

    def follows(self, frame: bytes) -> bool:
        """Whether this can be the next frame."""
        if not self._is_layer_3 or len(frame) < 40:
            self._free = None
            return True
        header = int.from_bytes(frame[:4], "big")
        version_1, channels = header >> 19 & 3 == 3, 1 if header >> 6 & 3 == 3 else 2
        size = _side_bytes(header)
        start = 4 if header >> 16 & 1 else 6
        side, bits = int.from_bytes(frame[start : start + size], "big"), 8 * size
        # ISO/IEC 11172-3, 2.4.1.7, and 13818-3, 2.4.1.7: how far back, and the bits of each granule and channel.
        back = side >> bits - (9 if version_1 else 8)
        granules, each = (2 * channels, 59) if version_1 else (channels, 63)
        used = sum(side >> (part * each + each - 12) & 0xFFF for part in range(granules))
        possible = self._free is None or back <= self._free
        self._free = max(back + len(frame) - start - size - (used + 7) // 8, 0)
        return possible


def _side_bytes(header: int) -> int:
    """The length of what a frame of layer 3 says of its audio before it."""
    is_mono = header >> 6 & 3 == 3
    if header >> 19 & 3 == 3:
        return 17 if is_mono else 32
    return 9 if is_mono else 17


def _read_tag(frame: bytes, header: int) -> _Tag | None:
    """The tag in place of audio in the first frame; None where there is none."""
    side = _side_bytes(header)
    if frame[36:40] == b"VBRI":
        size, frames = int.from_bytes(frame[46:50], "big"), int.from_bytes(frame[50:54], "big")
        return _Tag(frames, size, None)
    # Where a checksum of 16 bits follows the header, the tag may or may not make room for it.
    for at in (4 + side, 6 + side):
        if frame[at : at + 4] in (b"Xing", b"Info"):
            return _read_xing(frame, at)
    return None


def _read_xing(frame: bytes, at: int) -> _Tag:
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    at += 8
    numbers: list[int | None] = [None, None]
    for index, flag in enumerate((1, 2)):
        if flags & flag:
            numbers[index] = int.from_bytes(frame[at : at + 4], "big")
            at += 4
    at += (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    lame = frame[at : at + LAME_TAG_BYTES]
    # The tag has a checksum of its own: what a program without one wrote there is not taken for checksums.
    is_lame = len(lame) == LAME_TAG_BYTES and _reflected(frame[: at + LAME_TAG_BYTES - 2]) == lame[-2:]
    return _Tag(numbers[0], numbers[1], int.from_bytes(lame[-4:-2], "big") if is_lame else None)


def _reflected(data: bytes) -> bytes:
    return reversed_bits(crc16_reflected(data), 16).to_bytes(2, "big")
