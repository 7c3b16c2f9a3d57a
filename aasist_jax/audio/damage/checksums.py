"""The checksums that audio formats carry, over pieces of any length at the speed of NumPy and zlib."""

import zlib
from functools import cache

import numpy as np

CRC16 = 0x8005
"""Polynomial of FLAC's frames and of MP3's tags, x**16 + x**15 + x**2 + 1."""

CRC8 = 0x07
"""Polynomial of FLAC's frame headers, x**8 + x**2 + x + 1."""

BLOCK_BYTES = 1 << 20

REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
"""Each byte with its bits from the other end."""


def crc16(data: bytes, state: int = 0) -> int:
    """Checksum of 16 bits, most significant bit first, begun with `state`; 0 where the data end in their own checksum.

    A checksum is the data, as a polynomial, modulo another one. So neighbours can be joined in pairs, all pairs at
    once, and again, until one number is left.
    """
    for start in range(0, len(data), BLOCK_BYTES):
        block = data[start : start + BLOCK_BYTES]
        state = _shifted(state, len(block)) ^ _crc16_of_block(block)
    return state


def crc16_reflected(data: bytes, state: int = 0) -> int:
    """The same, least significant bit first; `state` and the result have their bits from the other end."""
    return crc16(data.translate(REVERSED), state)


def reversed_bits(value: int, bits: int) -> int:
    """A number of so many bits, from the other end."""
    return int(f"{value:0{bits}b}"[::-1], 2)


def crc32_forward(data: bytes) -> int:
    """Checksum of an Ogg page (RFC 3533): zlib's polynomial, but most significant bit first, begun and ended with 0."""
    return reversed_bits(zlib.crc32(data.translate(REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF, 32)


def crc8(data: bytes) -> int:
    """Checksum of 8 bits, most significant bit first; 0 where the data end in their own checksum."""
    state = 0
    for byte in data:
        state = _CRC8_TABLE[state ^ byte]
    return state


def _crc8_entry(value: int) -> int:
    for _ in range(8):
        value = (value << 1 ^ (CRC8 if value & 0x80 else 0)) & 0xFF
    return value


_CRC8_TABLE = bytes(map(_crc8_entry, range(256)))


@cache
def _shift_table(power: int) -> np.ndarray:
    """(65536,): every state after 2**`power` bytes of zeros."""
    if power:
        half = _shift_table(power - 1)
        return half[half]
    states: np.ndarray = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(8):
        states = (states << 1) ^ np.where(states & 0x8000, CRC16 | 0x1_0000, 0)
    return states.astype(np.uint16)


def _shifted(state: int, size: int) -> int:
    power = 0
    while state and size:
        if size & 1:
            state = int(_shift_table(power)[state])
        size >>= 1
        power += 1
    return state


def _crc16_of_block(block: bytes) -> int:
    """Of up to `BLOCK_BYTES`, begun with 0, where zeros in front change nothing."""
    words = 1 << max((len(block) + 1) // 2 - 1, 0).bit_length()
    padded = np.zeros(2 * words, np.uint8)
    padded[2 * words - len(block) :] = np.frombuffer(block, np.uint8)
    rest = padded.view(">u2").astype(np.uint16)
    power = 1
    while rest.size > 1:
        rest = _shift_table(power)[rest[::2]] ^ rest[1::2]
        power += 1
    return int(_shift_table(1)[rest[0]])
