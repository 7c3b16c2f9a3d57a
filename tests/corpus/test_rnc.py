import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aasist_jax.corpus import rnc
from aasist_jax.errors import DataError
from tests.corpus.made_games import pack


@pytest.mark.parametrize("data", [b"a", b"abcd" * 50, bytes(range(256)) * 2, b"x" * 3000, b"no repeats 1234567890"])
def test_what_was_packed_comes_back(data: bytes) -> None:
    assert rnc.unpacked_size(pack(data)) == len(data)
    assert rnc.unpack(pack(data)) == data


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([b"a", b"bc", b"def", b"\0" * 9, b"\xff\x00"]), min_size=1, max_size=60))
def test_any_pieces_come_back(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert rnc.unpack(pack(data)) == data


def test_damage_is_found() -> None:
    rng = np.random.default_rng(0)
    packed = bytearray(pack(rng.integers(0, 9, 400, np.uint8).tobytes()))
    for position in range(rnc.HEADER_BYTES, len(packed), 7):
        damaged = bytearray(packed)
        damaged[position] ^= 0x10
        # Bits that only fill up a last word change nothing.
        try:
            assert rnc.unpack(bytes(damaged)) == rnc.unpack(bytes(packed))
        except DataError:
            continue


@pytest.mark.parametrize("cut", [0, 10, 18, 40])
def test_a_file_that_ends_early_is_an_error(cut: int) -> None:
    with pytest.raises(DataError, match=r"RNC's method 1|ends early|damaged"):
        rnc.unpack(pack(bytes(range(250)))[:cut])


def test_another_file_is_an_error() -> None:
    with pytest.raises(DataError, match="not compressed by RNC's method 1"):
        rnc.unpacked_size(b"RNC\x02" + bytes(30))
