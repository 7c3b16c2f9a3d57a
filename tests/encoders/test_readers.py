"""Files of encoders: found by path or name, never executed, and told in one line where they cannot be read."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.encoders.readers import is_encoder, read_encoder, readers
from aasist_jax.encoders.readers.distill_mos import MEMBER, SHA256, SIZE, read_distill_mos, to_published
from aasist_jax.errors import WeightsError
from aasist_jax.weights.torch_file import parse_torch_file, write_torch_file
from tests.encoder_files import distill_mos_wheel


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    with zipfile.ZipFile(distill_mos_wheel()) as wheel:
        return wheel.read(MEMBER)


def test_the_published_tensors_survive_our_names_to_the_bit(checkpoint: bytes) -> None:
    config, variables, source = read_distill_mos(distill_mos_wheel())
    assert (source.name, source.sha256) == ("distill_mos_v7.pt", SHA256)
    there = parse_torch_file(checkpoint, "the wheel's")
    back = to_published(config, variables)
    assert len(there) == 120
    assert there.keys() == back.keys()
    for name, tensor in there.items():
        assert (back[name].dtype, back[name].shape) == (tensor.dtype, tensor.shape), name
        assert back[name].tobytes() == tensor.tobytes(), name


def test_the_package_is_found_and_not_imported(
    checkpoint: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / MEMBER
    package.parent.mkdir(parents=True)
    (tmp_path / "distillmos" / "__init__.py").write_text("raise SystemExit('imported')")
    package.write_bytes(checkpoint)
    monkeypatch.syspath_prepend(tmp_path)
    by_name = read_encoder("distill_mos")
    by_file, by_wheel = read_encoder(package), read_encoder(distill_mos_wheel())
    assert by_name.source == by_file.source == by_wheel.source
    assert "distillmos" not in sys.modules
    assert set(by_name.variables["params"]) == {
        *(f"cnn_{i}" for i in range(6)),
        *(f"layers_{i}" for i in range(7)),
        *("norm_input", "norm", "linear_proj", "position_encoding", "norm_trans"),
    }
    package.write_bytes(checkpoint[:-1])
    with pytest.raises(WeightsError, match=r"its weights are not the published ones \(SHA-256 [0-9a-f]{64}\)"):
        read_encoder("distill_mos")


def test_another_checkpoint_of_the_same_sizes_is_read_from_its_file(checkpoint: bytes, tmp_path: Path) -> None:
    tensors = parse_torch_file(checkpoint, "")
    tensors["cnn.cnn.0.bias"] = tensors["cnn.cnn.0.bias"] + np.float32(1)
    write_torch_file(tmp_path / "distill_mos_mine.pt", tensors)
    mine = read_encoder(tmp_path / "distill_mos_mine.pt")
    np.testing.assert_array_equal(mine.variables["params"]["cnn_0"]["bias"], tensors["cnn.cnn.0.bias"])
    assert mine.source.sha256 != SHA256
    del tensors["cnn.cnn.0.bias"]
    write_torch_file(tmp_path / "distill_mos_mine.pt", tensors)
    with pytest.raises(WeightsError, match=r"does not fit Distill-MOS, .*cnn.cnn.0.bias is missing"):
        read_encoder(tmp_path / "distill_mos_mine.pt")


def test_what_is_no_encoder_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "distillmos-0.whl").write_text("x")
    with zipfile.ZipFile(tmp_path / "distillmos-1.whl", "w") as wheel:
        wheel.writestr("a", "b")
    with zipfile.ZipFile(tmp_path / "distillmos-2.whl", "w") as wheel:
        wheel.writestr(MEMBER, "b")
    (tmp_path / "distill_mos.pt").write_bytes(b"")
    for name, complaint in (
        (tmp_path / "notes.txt", "notes.txt: not an encoder that is read here: .*the wheel of distillmos"),
        (tmp_path / "missing", "missing: no such file, nor an encoder of that name; there are .*distill_mos"),
        ("distill-mos", "distill-mos: no such file, nor an encoder of that name; did you mean 'distill_mos'"),
        ("distill_mos", "distill_mos: the package `distillmos`, .* `pip install --no-deps distillmos==0.9.1`"),
        (tmp_path / "distillmos-0.whl", "cannot be read .*`pip download --no-deps distillmos==0.9.1`"),
        (tmp_path / "distillmos-1.whl", "cannot be read .*no item named"),
        (tmp_path / "distillmos-2.whl", "has another size than the published one"),
        (tmp_path / "distill_mos.pt", "cannot be read"),
    ):
        with pytest.raises(WeightsError, match=complaint) as told:
            read_encoder(name)
        assert "\n" not in str(told.value)
    assert not is_encoder(tmp_path / "notes.txt")
    assert not is_encoder("AASIST")
    assert is_encoder("distill_mos")
    assert len({reader.reads for reader in readers()}) == len(readers())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_wheel_is_told_in_a_line(tmp_path: Path, method: int) -> None:
    path = tmp_path / "distillmos-0.whl"
    with zipfile.ZipFile(path, "w", method) as wheel:
        wheel.writestr(MEMBER, bytes(SIZE))
        start, size = wheel.getinfo(MEMBER).header_offset + 30 + len(MEMBER), wheel.getinfo(MEMBER).compress_size
    content = bytearray(path.read_bytes())
    content[start + size // 2 : start + size] = b"\xff" * (size - size // 2)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"distillmos-0.whl: cannot be read \(.+\); install it") as told:
        read_encoder(path)
    assert "\n" not in str(told.value)
