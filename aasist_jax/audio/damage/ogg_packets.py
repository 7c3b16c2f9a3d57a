"""How long the packets of Opus (RFC 6716) and of Vorbis I last, told without decoding them."""

OPUS_FRAMES = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
"""Samples of a frame at 48 kHz, by its configuration."""

VORBIS_IDENTIFICATION, VORBIS_SETUP = b"\1vorbis", b"\5vorbis"


class PacketClock:
    """Tells how long the packets of a stream last that come after its first; this one of a stream of another kind.

    Attributes:
        tolerance: how many ticks a page's position may be off.
    """

    tolerance = 0

    def ticks(self, packet: bytes) -> int:
        """How long the next packet lasts; 0 for one of the headers, and where that is unknown."""
        return 0


def packet_clock(first: bytes) -> PacketClock:
    """The clock of a stream, by the first of its packets."""
    if first[:8] == b"OpusHead":
        return _OpusClock()
    if first[:7] == VORBIS_IDENTIFICATION and len(first) >= 30:
        return _VorbisClock(1 << (first[28] & 15), 1 << (first[28] >> 4), int.from_bytes(first[12:16], "little"))
    return PacketClock()


class _OpusClock(PacketClock):
    """Each packet states the length and the count of its frames."""

    tolerance = 119
    """Less than the shortest frame. A file that was made from WebM has times in whole milliseconds."""

    def ticks(self, packet: bytes) -> int:
        if not packet or packet[:8] == b"OpusTags":
            return 0
        code = packet[0] & 3
        frames = (1, 2, 2)[code] if code < 3 else packet[1] & 63 if len(packet) > 1 else 0
        return OPUS_FRAMES[packet[0] >> 3] * frames


class _VorbisClock(PacketClock):
    """A packet is a short or a long block, by its mode, and adds a quarter of its own and of the one before."""

    def __init__(self, short: int, long: int, rate: int) -> None:
        # A file that was made from WebM has times in whole milliseconds; no block is that short.
        self._millisecond = min(rate // 1000, short // 2 - 1)
        self.tolerance = self._millisecond
        self._blocks = (short, long)
        self._modes: list[bool] | None = None
        self._before = 0

    def ticks(self, packet: bytes) -> int:
        if not packet or packet[0] & 1:
            if packet[:7] == VORBIS_SETUP:
                self._modes = _vorbis_modes(packet)
                self.tolerance = self._millisecond if self._modes else 1 << 62
            return 0
        if not self._modes:
            return 0
        mode = packet[0] >> 1 & ((1 << (len(self._modes) - 1).bit_length()) - 1)
        block = self._blocks[self._modes[mode]] if mode < len(self._modes) else 0
        ticks = (self._before + block) // 4 if self._before else 0
        self._before = block
        return ticks


def _vorbis_modes(setup: bytes) -> list[bool]:
    """Which modes have long blocks; empty where that cannot be told.

    The modes stand at the end of the header. It is read from there, since what stands before them has no fixed
    length: a mode is a bit, 32 zeros and a mapping of 8 bits, before them stands their count less one in 6 bits, and
    behind them a bit that is set.
    """
    bits = "".join(f"{byte:08b}"[::-1] for byte in setup[-512:]).rstrip("0")[:-1]
    modes: list[bool] = []
    found: list[bool] = []
    while len(bits) >= 47 and "1" not in bits[-40:-8]:
        modes.insert(0, bits[-41] == "1")
        bits = bits[:-41]
        if int(bits[-6:][::-1], 2) + 1 == len(modes):
            found = list(modes)  # the longest run that fits is the one meant
    return found
