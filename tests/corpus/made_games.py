"""The large files of two games, made small: the tables and codings of the real ones, and sounds of our own."""

import io
import struct
from pathlib import Path

import numpy as np
import soundfile

RATE = 11_025


class BitWriter:
    """Bits, the lowest of a 16-bit word first; a word takes its place when its first bit comes, bytes go in between."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.slot = 0
        self.used = 16

    def bits(self, value: int, count: int) -> None:
        for bit in range(count):
            if self.used == 16:
                self.slot, self.used = len(self.out), 0
                self.out += b"\0\0"
            word = int.from_bytes(self.out[self.slot : self.slot + 2], "little") | ((value >> bit) & 1) << self.used
            self.out[self.slot : self.slot + 2] = word.to_bytes(2, "little")
            self.used += 1

    def code(self, lengths: list[int]) -> None:
        self.bits(len(lengths), 5)
        for length in lengths:
            self.bits(length, 4)

    def number(self, value: int) -> None:
        """In the code of 16 words of 4 bits."""
        symbol = value if value < 2 else value.bit_length()
        self.bits(int(f"{symbol:04b}"[::-1], 2), 4)
        if symbol > 1:
            self.bits(value - (1 << (symbol - 1)), symbol - 1)


def crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 * (crc & 1))
    return crc


def pieces_of(data: bytes) -> list[tuple[bytes, int, int]]:
    """Literals, then a copy: how far back it begins, and how long it is; the last piece has none."""
    pieces, start, at = [], 0, 0
    while at < len(data):
        length = 0
        while at + length < len(data) and length < 200 and data.find(data[at : at + length + 1], 0, at + length) >= 0:
            length += 1
        if length >= 4:
            found = data.find(data[at : at + length], 0, at + length - 1)
            pieces.append((data[start:at], at - found, length))
            at += length
            start = at
        else:
            at += 1
    return [*pieces, (data[start:], 0, 0)]


def pack(data: bytes) -> bytes:
    """Compress by RNC's method 1, in one block."""
    writer = BitWriter()
    writer.bits(0, 2)
    for _ in range(3):
        writer.code([4] * 16)
    pieces = pieces_of(data)
    writer.bits(len(pieces), 16)
    for number, (literals, distance, length) in enumerate(pieces):
        writer.number(len(literals))
        writer.out += literals
        if number < len(pieces) - 1:
            writer.number(distance - 1)
            writer.number(length - 2)
    packed = bytes(writer.out)
    return b"RNC\x01" + struct.pack(">IIHHBB", len(data), len(packed), crc16(data), crc16(packed), 0, 1) + packed


def vowel(seconds: float, hertz: float) -> np.ndarray:
    """Something like a voice, at 11,025 Hz: pulses through a resonance."""
    time = np.arange(round(seconds * RATE)) / RATE
    harmonics = [np.sin(2 * np.pi * hertz * number * time) / number for number in range(1, 20)]
    return 0.2 * np.sum(harmonics, axis=0) * np.abs(np.sin(2 * np.pi * 2 * time))


def mp3(wave: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format="MP3", subtype="MPEG_LAYER_III")
    return file.getvalue()


def make_queen(path: Path, files: dict[str, bytes]) -> None:
    """`queen.1c` with these files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table, body = b"QTBLtest\0\0\0\0\x01" + struct.pack(">H", len(files)), b""
    start = 15 + 21 * len(files)
    for name, content in files.items():
        table += struct.pack(">12sBII", name.encode(), 1, start + len(body), len(content))
        body += content
    path.write_bytes(table + body)


def dialogue(key: int) -> bytes:
    """The head of a `.DOG` file: a bank of AMOS, then the largest level, the unique number, the number of its lines."""
    return b"AmBk" + bytes(16) + struct.pack(">hHH", 1, key, key) + bytes(20)


def make_sky(path: Path, lines: dict[int, bytes], noises: dict[int, bytes]) -> None:
    """`sky.dsk` and `sky.dnr` with these lines (8 bits unsigned), and further files that are not compressed.

    The first line lies within reach of its offset in bytes, all others of one in sixteens.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    disk, entries = bytearray(), b""
    packed = {number: b"\x81\x00" + bytes(20) + pack(content) for number, content in lines.items()}
    for number, content in (packed | noises).items():
        disk += bytes(-len(disk) % 16)
        offset = len(disk) // 16 | 0x800000 if entries else len(disk)
        disk += content
        entries += struct.pack("<H", number) + offset.to_bytes(3, "little") + len(content).to_bytes(3, "little")
    path.write_bytes(bytes(disk))
    path.with_suffix(".dnr").write_bytes(struct.pack("<I", len(entries) // 8) + entries)
