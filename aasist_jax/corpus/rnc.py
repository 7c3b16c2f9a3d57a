"""Unpacks Rob Northen's compression of method 1, in which some games of the nineties keep their files.

A file begins with `RNC` and the number of the method, the sizes unpacked and packed (u32, big-endian), the CRC-16 of
both, two bytes without use here. Then come bits, the lowest of a 16-bit little-endian word first, and between them
literal bytes. The bits give blocks; each has three Huffman codes, for the number of literals, for how far back a copy
begins, and for its length.
"""

from collections.abc import Mapping
from functools import cache

from aasist_jax.errors import DataError

HEADER_BYTES = 18

Code = Mapping[tuple[int, int], int]
"""The symbol for each (bits of the code word, the word with its first bit lowest)."""


def unpacked_size(packed: bytes) -> int:
    """The bytes that a packed file will have, by its header.

    Raises:
        DataError: it is not of this kind.
    """
    if len(packed) < HEADER_BYTES or packed[:4] != b"RNC\x01":
        raise DataError("it is not compressed by RNC's method 1")
    return int.from_bytes(packed[4:8], "big")


def unpack(packed: bytes) -> bytes:
    """Unpack a file.

    Raises:
        DataError: it is not of this kind, ends early, or its check sum is wrong.
    """
    size = unpacked_size(packed)
    bits = _Bits(packed, HEADER_BYTES)
    bits.read(2)
    unpacked = bytearray()
    while len(unpacked) < size:
        literals, distances, lengths = _code(bits), _code(bits), _code(bits)
        pieces = bits.read(16)
        for piece in range(pieces):
            unpacked += bits.literal(_number(bits, literals))
            if piece < pieces - 1:
                _copy(unpacked, _number(bits, distances) + 1, _number(bits, lengths) + 2)
        if not pieces or len(unpacked) > size:
            break
    if len(unpacked) != size or _crc(bytes(unpacked)) != int.from_bytes(packed[12:14], "big"):
        raise DataError("its compressed data is damaged")
    return bytes(unpacked)


class _Bits:
    """A stream of bits with bytes between them: the word that is read ahead comes after such bytes, not before."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data, self.ahead = data, start
        self.value, self.count = self._word(start), 16

    def read(self, bits: int) -> int:
        """The next bits as a number, the first one lowest; at most 16."""
        found = self.value & ((1 << bits) - 1)
        self.value >>= bits
        self.count -= bits
        if self.count < 16:
            self.ahead += 2
            self.value |= self._word(self.ahead) << self.count
            self.count += 16
        return found

    def literal(self, size: int) -> bytes:
        """The next whole bytes."""
        if not size:
            return b""
        found = self.data[self.ahead : self.ahead + size]
        self.ahead += size
        self.value &= (1 << (self.count - 16)) - 1
        self.value |= self._word(self.ahead) << (self.count - 16)
        return found

    def _word(self, at: int) -> int:
        # Some words are read ahead of the end; a file that ends far too early is damaged.
        if at > len(self.data) + 4:
            raise DataError("its compressed data ends early")
        return int.from_bytes(self.data[at : at + 2], "little")


def _code(bits: _Bits) -> Code:
    """A canonical Huffman code: how many symbols (5 bits), then the length of each word (4 bits)."""
    lengths = [bits.read(4) for _ in range(bits.read(5))]
    code: dict[tuple[int, int], int] = {}
    word = 0
    for length in range(1, 16):
        word <<= 1
        for symbol, its_length in enumerate(lengths):
            if its_length == length:
                code[length, int(f"{word:0{length}b}"[::-1], 2)] = symbol
                word += 1
    return code


def _number(bits: _Bits, code: Code) -> int:
    """A symbol of the code and what follows it: symbol n > 1 stands for 2**(n - 1) and n - 1 further bits."""
    word = 0
    for length in range(1, 16):
        word |= bits.read(1) << (length - 1)
        symbol = code.get((length, word))
        if symbol is not None:
            return symbol if symbol < 2 else (1 << (symbol - 1)) | bits.read(symbol - 1)
    raise DataError("its compressed data is damaged")


def _copy(unpacked: bytearray, distance: int, length: int) -> None:
    """Append bytes from `distance` back; a copy may reach into itself."""
    if distance > len(unpacked):
        raise DataError("its compressed data is damaged")
    start = len(unpacked) - distance
    while length > 0:
        piece = unpacked[start : start + length]
        unpacked += piece
        length -= len(piece)


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def _crc(data: bytes) -> int:
    """CRC-16 of the reversed polynomial 0xA001, from 0."""
    table, crc = _crc_table(), 0
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc
