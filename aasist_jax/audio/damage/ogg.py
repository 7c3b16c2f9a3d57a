"""Ogg (RFC 3533): pages with checksums, numbered in each stream, that state where in the recording they end."""

from dataclasses import dataclass, field

from aasist_jax.audio.damage.checksums import crc32_forward
from aasist_jax.audio.damage.ogg_packets import PacketClock, packet_clock
from aasist_jax.audio.damage.tags import after_id3, without_end_tags
from aasist_jax.audio.source import BinaryFile

HEADER_BYTES = 27
CONTINUED, FIRST, LAST = 1, 2, 4
"""Flags of a page: it goes on with a packet of the page before; it begins a stream; it ends one."""

NO_POSITION = (1 << 64) - 1
"""The position of a page on which no packet ends."""

MAX_STREAMS = 64
LARGEST_PACKET_BYTES = 1 << 20
TAG_BYTES = 1 << 17


@dataclass
class _Stream:
    """One stream of a file, as far as its pages were read; positions are in samples."""

    next_page: int = 0
    position: int = 0
    has_position: bool = False
    is_over: bool = False
    clock: PacketClock | None = None
    packet: bytearray = field(default_factory=bytearray)

    def take(self, flags: int, position: int, number: int, lacing: bytes, body: bytes) -> str | None:
        """Check the next page."""
        if self.is_over:
            return f"page {number} follows the end of its stream"
        if number != self.next_page:
            return f"page {number} stands where page {self.next_page} was due"
        self.next_page = number + 1
        self.is_over = bool(flags & LAST)
        if bool(flags & CONTINUED) != bool(self.packet) and number:
            return f"page {number} does not go on where the page before it ended"
        ticks = self._ticks(lacing, body)
        if position == NO_POSITION:
            return None
        if position >= 1 << 63 or position < self.position:
            return f"page {number} ends before the page before it does"
        # Audio may begin before or after position 0, and may be cut within the last packet.
        if ticks is not None and self.clock is not None and ticks and self.has_position:
            apart = position - self.position - ticks
            if apart > self.clock.tolerance or (apart < -self.clock.tolerance and not self.is_over):
                return f"page {number} does not hold as much audio as there is between its position and the one before"
        self.has_position = self.has_position or bool(ticks)
        self.position = position
        return None

    def _ticks(self, lacing: bytes, body: bytes) -> int | None:
        """How long the packets last that end on this page; None where that is unknown."""
        ticks, at = 0, 0
        for size in lacing:
            # How long a packet lasts stands in its first bytes: of one that never ends, no more is kept.
            if len(self.packet) < LARGEST_PACKET_BYTES:
                self.packet += body[at : at + size]
            at += size
            if size < 255:
                ticks += self._packet_ticks()
                self.packet.clear()
        return None if self.clock is None else ticks

    def _packet_ticks(self) -> int:
        if self.clock is None:
            self.clock = packet_clock(bytes(self.packet))
            return 0
        return self.clock.ticks(bytes(self.packet))


def find_ogg_damage(raw: BinaryFile) -> str | None:
    """Say what is wrong: a checksum, the order of pages, their positions, bytes between them, or a missing end."""
    raw.seek(after_id3(raw, 0))
    streams: dict[int, _Stream] = {}
    while True:
        head = raw.read(HEADER_BYTES)
        if head[:5] != b"OggS\0" or len(head) < HEADER_BYTES:
            break
        lacing = raw.read(head[26])
        body = raw.read(sum(lacing))
        if len(lacing) < head[26] or len(body) < sum(lacing):
            return "it ends amid a page"
        number = int.from_bytes(head[18:22], "little")
        page = head[:22] + bytes(4) + head[26:] + lacing + body
        if crc32_forward(page) != int.from_bytes(head[22:26], "little"):
            return f"page {number} has a wrong checksum"
        serial = int.from_bytes(head[14:18], "little")
        if head[5] & FIRST:
            if serial in streams and not streams[serial].is_over:
                return f"page {number} begins a stream that has begun"
            streams[serial] = _Stream()
        if serial not in streams or len(streams) > MAX_STREAMS:
            return f"page {number} belongs to no stream that has begun"
        found = streams[serial].take(head[5], int.from_bytes(head[6:14], "little"), number, lacing, body)
        if found is not None:
            return found
    if without_end_tags(head + raw.read(TAG_BYTES)):
        return "there are bytes between its pages or behind them"
    if not all(stream.is_over for stream in streams.values()):
        return "its last page is not marked as the end: cut off, or the recording of a live stream"
    return None
