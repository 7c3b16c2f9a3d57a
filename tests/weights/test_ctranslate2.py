"""Files of CTranslate2: every version and type, every defect, and damage at random."""

import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as numpy_strategies
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aasist_jax.errors import CheckpointError
from aasist_jax.weights.ctranslate2 import CTranslate2Model, read_ctranslate2
from tests.weights.ctranslate2_bytes import model, text, variable

FLOATS = np.arange(6, dtype=np.float32).reshape(2, 3)
INT8 = np.array([[127, -3, 0], [5, -127, 1]], np.int8)
INT16 = np.array([[1024, -2], [3, 0]], np.int16)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., CTranslate2Model]:
    """Reads a file of the given bytes."""

    def read_bytes(content: bytes, prefix: str = "") -> CTranslate2Model:
        path = tmp_path / "model.bin"
        path.write_bytes(content)
        return read_ctranslate2([path], prefix)

    return read_bytes


@pytest.mark.parametrize("version", range(1, 7))
def test_every_version(read: Any, version: int) -> None:
    content = model({"a": FLOATS, "n": np.array(4, np.int16)}, {"b": "a"}, version)
    found = read(content)
    assert (found.version, found.spec) == (version, "WhisperSpec" if version >= 2 else "")
    assert found.revision == (3 if version >= 2 else 1)
    assert found.names == ({"a", "n", "b"} if version >= 3 else {"a", "n"})
    assert np.array_equal(found.tensors["a"], FLOATS)
    assert found.tensors["n"] == 4
    if version >= 3:
        assert found.tensors["b"] is found.tensors["a"]


def test_every_type(read: Any) -> None:
    bits = np.array([0x3F80, 0xC040, 0x0001], np.uint16)
    found = read(
        model(
            {
                "float16": FLOATS.astype(np.float16),
                "int32": np.array([1, -(2**31)], np.int32),
                "bfloat16": bits,
                "x/weight": INT8,
                "x/weight_scale": np.array([127, 2], np.float32),
                "y/weight": INT16,
                "y/weight_scale": np.array(1000, np.float32),
            },
            {"w/weight": "x/weight", "v/weight": "w/weight"},
        )
    ).tensors
    assert found["float16"].dtype == np.float16
    assert found["int32"].tolist() == [1, -(2**31)]
    assert found["bfloat16"].tolist() == [1.0, -3.0, 2.0**-133]
    assert np.array_equal(found["x/weight"], INT8 / np.array([[127.0], [2.0]]))
    assert np.array_equal(found["y/weight"], INT16 / 1000.0)
    assert found["w/weight"] is found["x/weight"]
    assert found["v/weight"] is found["x/weight"]
    assert "x/weight_scale" not in found


def test_a_row_of_a_quantised_convolution_is_an_output_channel(read: Any) -> None:
    kernel = np.arange(12, dtype=np.int8).reshape(2, 3, 2)
    scale = np.array([2, 4], np.float32)
    found = read(model({"weight": kernel, "weight_scale": scale})).tensors
    assert np.array_equal(found["weight"], kernel / np.array([2.0, 4.0]).reshape(2, 1, 1))


def test_only_what_is_asked_for_is_read(read: Any) -> None:
    content = model({"decoder/w": FLOATS, "encoder/b": -FLOATS}, {"encoder/a": "decoder/w"})
    found = read(content, "encoder/")
    assert set(found.tensors) == {"encoder/a", "encoder/b"}
    assert np.array_equal(found.tensors["encoder/a"], FLOATS)
    assert "decoder/w" in found.names


def test_a_file_in_parts_is_read_as_if_it_were_whole(tmp_path: Path) -> None:
    content = model({"a": FLOATS, "b": INT16.astype(np.float16)}, {"c": "b"})
    whole = tmp_path / "model.bin"
    whole.write_bytes(content)
    expected = read_ctranslate2([whole]).tensors
    for cut in range(len(content) + 1):
        parts = [tmp_path / "model.bin.part1", tmp_path / "model.bin.part2"]
        parts[0].write_bytes(content[:cut])
        parts[1].write_bytes(content[cut:])
        found = read_ctranslate2(parts).tensors
        assert all(np.array_equal(found[name], array) for name, array in expected.items())


def changed(old: bytes, new: bytes) -> bytes:
    content = model({"a": FLOATS, "b": INT16}, {"c": "b"})
    assert content.count(old) == 1
    return content.replace(old, new)


A_SHAPE = struct.pack("<B2I", 2, 2, 3)
B_SHAPE = struct.pack("<B2I", 2, 2, 2)
DEFECTS = {
    "nothing in it": (b"", "cut short"),
    "a later version": (model({"a": FLOATS}, version=6).replace(b"\6\0\0\0", b"\7\0\0\0", 1), "format version is 7"),
    "version 0": (struct.pack("<I", 0) + bytes(20), "format version is 0"),
    "a text without its end": (changed(text("WhisperSpec"), text("WhisperSpec")[:-1] + b"!"), "only NUL"),
    "a text of no byte": (changed(text("a"), b"\0\0"), "only NUL"),
    "a NUL inside a text": (changed(text("WhisperSpec"), text("Whisper\0pec")), "only NUL"),
    "a text that is not UTF-8": (changed(text("WhisperSpec"), text("WhisperSpec").replace(b"W", b"\xff")), "UTF-8"),
    "more variables than bytes": (
        model({})[:-8] + struct.pack("<2I", 2**32 - 1, 0),
        "4294967295 variables follow, more than its 4",
    ),
    "more aliases than bytes": (model({})[:-4] + struct.pack("<I", 2**32 - 1), "4294967295 aliases follow"),
    "255 dimensions": (changed(A_SHAPE, struct.pack("<B2I", 255, 2, 3)), "'a' has 255 dimensions"),
    "a shape of terabytes": (changed(A_SHAPE, struct.pack("<B2I", 2, 2**32 - 1, 2**32 - 1)), "where its shape takes"),
    "more bytes than its shape takes": (
        changed(A_SHAPE, struct.pack("<B2I", 2, 2, 2)),
        "24 bytes where its shape takes 16",
    ),
    "a shape of terabytes that is true": (
        changed(
            A_SHAPE + struct.pack("<BI", 0, 24), struct.pack("<B2I", 2, 2**15, 2**15) + struct.pack("<BI", 0, 2**32 - 1)
        ),
        "has 4294967295 bytes where its shape takes 4294967296",
    ),
    "a payload of gigabytes": (
        model({})[:-8]
        + struct.pack("<I", 1)
        + text("a")
        + struct.pack("<B2I", 2, 2**15, 2**14)
        + struct.pack("<BI", 0, 2**31)
        + bytes(64),
        "cut short: 2147483648 bytes",
    ),
    "an unknown type": (changed(A_SHAPE + b"\0", A_SHAPE + b"\6"), "'a' is of type number 6"),
    "an unknown size of items": (
        model({"a": FLOATS}, version=3).replace(A_SHAPE + b"\4", A_SHAPE + b"\3"),
        "'a' has items of 3 bytes",
    ),
    "two variables of one name": (
        model({})[:-8] + struct.pack("<I", 2) + 2 * variable("a", FLOATS) + bytes(4),
        "two variables named 'a'",
    ),
    "an alias of a variable's name": (model({"a": FLOATS}, {"a": "a"}), "alias 'a' has the name"),
    "an alias of nothing": (model({"a": FLOATS}, {"b": "c"}), "alias 'b' stands for 'c', which is not there"),
    "an alias of itself": (model({"a": FLOATS}, {"b": "b"}), "alias 'b' stands for 'b', which is not there"),
    "bytes at the end": (model({"a": FLOATS}) + b"!", "1 bytes after its end"),
    "int8 without a scale": (model({"a": INT8}), "'a' is of int8, and has no scale"),
    "too few scales": (model({"a": INT8, "a_scale": np.ones(3, np.float32)}), "'a_scale' has shape (3,)"),
    "a scale of zero": (model({"a": INT8, "a_scale": np.array([1, 0], np.float32)}), "'a_scale' has a scale that is 0"),
    "an infinite scale": (model({"a": INT16, "a_scale": np.array(np.inf, np.float32)}), "not finite"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_told_in_one_line(read: Any, name: str) -> None:
    content, reason = DEFECTS[name]
    with pytest.raises(CheckpointError) as caught:
        read(content)
    message = str(caught.value)
    assert reason in message
    assert "model.bin" in message
    assert "fetch the file anew" in message
    assert message.isprintable()
    assert len(message) < 500


def test_every_truncation_is_refused(read: Any) -> None:
    content = model({"a": FLOATS, "x": INT8, "x_scale": np.ones(2, np.float32)}, {"c": "a"})
    for length in range(len(content)):
        with pytest.raises(CheckpointError):
            read(content[:length])


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_ctranslate2([tmp_path / "model.bin"])
    with pytest.raises(CheckpointError, match="is not a file"):
        read_ctranslate2([tmp_path])


def test_many_aliases_of_one_small_tensor_take_its_memory_once(read: Any) -> None:
    tensor = np.zeros((100, 5), np.int8)
    aliases = {f"a{number}": "w" for number in range(2000)}
    content = model({"w": tensor, "w_scale": np.ones(1, np.float32)}, aliases)
    tracemalloc.start()
    try:
        tensors = read(content).tensors
        assert len(tensors) == 2001
        assert all(found is tensors["w"] for found in tensors.values())
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_a_small_file_that_is_a_large_model_by_its_aliases(read: Any) -> None:
    content = model({"e/w": np.zeros((1000, 400), np.float16)}, {f"e/a{number}": "e/w" for number in range(6)})
    with pytest.raises(CheckpointError, match="aliases stand for more than 4 times the values that it holds"):
        read(content)
    assert not read(content, "d/").tensors


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
ARRAYS = st.sampled_from(["<f4", "<f2", "<i2", "<i4", "<u2"]).flatmap(
    lambda dtype: numpy_strategies.arrays(
        dtype, numpy_strategies.array_shapes(min_dims=0, max_dims=4, max_side=4, min_side=0)
    )
)


@given(st.dictionaries(NAMES.filter(lambda name: not name.endswith("_scale")), ARRAYS, max_size=5), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, arrays: Any, version: int) -> None:
    if version < 4:
        arrays = {name: array for name, array in arrays.items() if array.dtype in (np.float32, np.int16)}
    path = tmp_path_factory.getbasetemp() / "written.bin"
    path.write_bytes(model(arrays, version=version))
    found = read_ctranslate2([path]).tensors
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        expected = (array.astype(np.uint32) << 16).view(np.float32) if array.dtype == np.uint16 else array
        assert found[name].dtype == expected.dtype
        assert found[name].tobytes() == expected.tobytes()
        assert found[name].shape == array.shape


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content with one to three flipped bits, overwritten numbers, cuts or insertions."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"])
            case 2:
                del data[at : at + rng.randint(1, 20)]
            case 3:
                data[at:at] = data[: rng.randint(1, 30)]
    return bytes(data)


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_damage_is_told_in_one_line_or_does_not_show(tmp_path: Path, count: int) -> None:
    arrays = {"a": FLOATS, "b/weight": INT8, "b/weight_scale": np.ones(2, np.float32), "n": np.array(4, np.int16)}
    outcomes = {"read": 0, "refused": 0}
    path = tmp_path / "model.bin"
    tracemalloc.start()
    try:
        for seed in range(count):
            rng = random.Random(seed)
            path.write_bytes(damaged(model(arrays, {"c/weight": "b/weight"}, rng.randint(1, 6)), rng))
            try:
                read_ctranslate2([path])
                outcomes["read"] += 1
            except CheckpointError as error:
                outcomes["refused"] += str(error).isprintable()
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()
    assert sum(outcomes.values()) == count
    assert min(outcomes.values()) > count // 30, outcomes
