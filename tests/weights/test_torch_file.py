"""PyTorch checkpoints read and written without PyTorch, compared with PyTorch itself."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as numpy_strategies
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aasist_jax.errors import CheckpointError
from aasist_jax.weights import torch_zip
from aasist_jax.weights.pickle_values import STORAGE_DTYPES
from aasist_jax.weights.torch_file import read_torch_file, write_torch_file
from tests.conftest import REPOSITORY, extra

OFFICIAL = ["AASIST.pth", "AASIST-L.pth", "RawGAT-ST-mul.pth"]


@pytest.fixture(scope="module")
def torch() -> Any:
    return extra("torch", "torch")


def assert_same(arrays: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> None:
    """Same names in the same order, same types and shapes, same bits."""
    assert list(arrays) == list(others)
    for name, array in arrays.items():
        assert array.dtype == others[name].dtype, name
        assert array.shape == others[name].shape, name
        assert array.tobytes() == others[name].tobytes(), name


def loaded(torch: Any, path: Path, **options: Any) -> dict[str, np.ndarray]:
    """What PyTorch itself makes of the file."""
    state = torch.load(path, weights_only=True, map_location="cpu", **options)
    assert type(state).__name__ == "OrderedDict"
    return {name: tensor.numpy() for name, tensor in state.items()}


@pytest.mark.reference
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_checkpoint_equals_torch_load(torch: Any, reference: Path, name: str) -> None:
    arrays = read_torch_file(reference / "weights" / name)
    assert_same(arrays, loaded(torch, reference / "weights" / name))
    assert all(array.flags.owndata and array.flags.c_contiguous for array in arrays.values())


@pytest.mark.reference
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_checkpoint_survives_a_round_trip(reference: Path, tmp_path: Path, name: str) -> None:
    arrays = read_torch_file(reference / "weights" / name)
    write_torch_file(tmp_path / name, arrays)
    assert_same(read_torch_file(tmp_path / name), arrays)


@pytest.mark.reference
@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_what_is_written(torch: Any, reference: Path, tmp_path: Path, mmap: bool) -> None:
    arrays = read_torch_file(reference / "weights" / "AASIST-L.pth")
    write_torch_file(tmp_path / "copy.pth", arrays)
    assert_same(loaded(torch, tmp_path / "copy.pth", mmap=mmap), arrays)


def test_torch_reads_every_type_and_shape(torch: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays = {}
    for storage, dtype in STORAGE_DTYPES.items():
        for shape in [(), (1,), (0,), (3, 0, 2), (2, 3, 5)]:
            values = rng.integers(0, 2, shape).astype(dtype)
            arrays[f"{storage} {shape}"] = np.asarray(values)
    arrays["not numbers"] = np.array([np.nan, -np.inf, -0.0, 1e-45], np.float32)
    arrays["num_batches_tracked"] = np.asarray(2**62 + 1, np.int64)
    arrays["größe/../\n"] = np.ones(70_000, np.float32)
    path = tmp_path / "all.pth"
    write_torch_file(path, arrays)
    assert_same(read_torch_file(path), arrays)
    assert_same(loaded(torch, path), arrays)


def test_what_torch_saves_is_read(torch: Any, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.BatchNorm2d(3), torch.nn.Linear(300, 300))
    path = tmp_path / "module.pth"
    torch.save(module.state_dict(), path)
    assert_same(read_torch_file(path), {name: t.numpy() for name, t in module.state_dict().items()})


def test_views_are_cut_out_of_their_storage(torch: Any, tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    views = {
        "base": base,
        "tied": base,
        "transposed": base.T,
        "strided": base[1::2, ::3],
        "column": base[:, 5],
        "scalar": base[3, 5],
        "permuted": torch.arange(60).reshape(3, 4, 5).permute(2, 0, 1),
        "empty": base[:, 6:],
    }
    torch.save(views, tmp_path / "views.pth")
    arrays = read_torch_file(tmp_path / "views.pth")
    assert_same(arrays, {name: view.numpy() for name, view in views.items()})
    arrays["base"][0, 0] = -1
    assert arrays["tied"][0, 0] == 0


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_training_checkpoint_is_read_as_its_state_dict(torch: Any, tmp_path: Path, wrapper: str) -> None:
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    path = tmp_path / "training.pth"
    torch.save({"epoch": 3, "optimizer": optimizer.state_dict(), wrapper: module.state_dict(), "eer": 0.8}, path)
    assert_same(read_torch_file(path), {name: t.numpy() for name, t in module.state_dict().items()})


def test_other_things_torch_saves_are_refused_with_a_way_out(torch: Any, tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 2)
    path = tmp_path / "other.pth"

    def refusal() -> str:
        with pytest.raises(CheckpointError, match=r"torch\.save\(model\.state_dict\(\), path\)") as caught:
            read_torch_file(path)
        return str(caught.value)

    torch.save(module, path)
    assert "'torch.nn.modules.linear.Linear'" in refusal()
    torch.save(dict(module.named_parameters()), path)
    assert "'torch._utils._rebuild_parameter'" in refusal()
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)
    assert "a bare pickle, as PyTorch saved them before 1.6" in refusal()
    torch.save(module.bfloat16().state_dict(), path)
    assert "convert them with .float() first" in refusal()
    torch.save(module.float().state_dict(), path, pickle_protocol=4)
    assert "not of protocol 2" in refusal()


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    arrays = {"b": np.ones((2, 3), np.float32), "a": np.asarray(7)}
    first, second = tmp_path / "first.pth", tmp_path / "second.pth"
    write_torch_file(first, arrays)
    write_torch_file(second, {name: array.copy() for name, array in arrays.items()})
    assert first.read_bytes() == second.read_bytes()


def test_storages_are_aligned_for_memory_mapping(tmp_path: Path) -> None:
    path = tmp_path / "aligned.pth"
    marks = [bytes([mark]) * 13 for mark in (201, 202, 203)]
    write_torch_file(path, {str(mark[0]): np.frombuffer(mark, np.uint8) for mark in marks})
    data = path.read_bytes()
    assert [data.index(mark) % 64 for mark in marks] == [0, 0, 0]


def test_any_memory_layout_is_written(tmp_path: Path) -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays = {"fortran": np.asfortranarray(base), "reversed": base[::-1, ::2], "big": base.astype(">f4")}
    write_torch_file(tmp_path / "layouts.pth", arrays)
    read = read_torch_file(tmp_path / "layouts.pth")
    assert all(np.array_equal(read[name], array) for name, array in arrays.items())
    assert read["big"].dtype == np.float32


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "no tensors"),
        ({"a": np.array(["text"])}, "'a' is of type <U4"),
        ({"a": np.array([object()])}, "'a' is of type object"),
        ({"a": np.zeros(2, np.uint16)}, "'a' is of type uint16"),
        ({"a": np.zeros(2, np.longdouble)}, "'a' is of type"),
        ({"a": np.zeros(2, [("x", "f4")])}, "'a' is of type"),
        ({"\ud800": np.zeros(2, np.float32)}, "is not Unicode text"),
        ({"a": np.zeros([1] * 17, np.float32)}, "'a' has more than 16 dimensions"),
        ({"a": np.zeros((0, 2**40), np.float32)}, "too large"),
        ({"x" * 2**20 + str(i): np.zeros(1, np.int8) for i in range(8)}, "more than 8 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_written_leaves_the_old_file(
    tmp_path: Path, tensors: dict[str, np.ndarray], reason: str
) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")
    with pytest.raises(CheckpointError, match=reason) as caught:
        write_torch_file(path, tensors)
    assert str(caught.value).isprintable()
    assert "model.pth" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.pth"]


@pytest.mark.parametrize(("limit", "value"), [("MAX_MEMBERS", 5), ("MAX_FILE_BYTES", 1000)])
def test_limits_of_the_archive_hold_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    one = {"a": np.zeros(1, np.float32)}
    monkeypatch.setattr(torch_zip, limit, value)
    write_torch_file(tmp_path / "small.pth", one)
    with pytest.raises(CheckpointError, match=rf"large\.pth' .* at most {value} (bytes|members)"):
        write_torch_file(tmp_path / "large.pth", one | {"b": one["a"], "c": one["a"]})
    assert os.listdir(tmp_path) == ["small.pth"]


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in [
        (tmp_path / "missing" / "model.pth", r"missing/model\.pth' cannot be written: No such file"),
        (tmp_path / "file" / "model.pth", "cannot be written: Not a directory"),
        (tmp_path, "cannot be written: Is a directory"),
        ("/", "'/' cannot be written"),
        ("nul\0byte", r"'nul\\x00byte' cannot be written: .*null"),
    ]:
        with pytest.raises(CheckpointError, match=reason):
            write_torch_file(path, {"a": np.zeros(1, np.float32)})
    assert os.listdir(tmp_path) == ["file"]


def test_paths_that_are_no_files_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in [
        (tmp_path / "missing.pth", r"missing\.pth' cannot be read: No such file or directory"),
        (tmp_path, "it is not a file"),
        (tmp_path / "pipe", "it is not a file"),
        ("nul\0byte", r"'nul\\x00byte' cannot be read: .*null"),
        (tmp_path / "line\nbreak", r"line\\nbreak' cannot be read"),
    ]:
        with pytest.raises(CheckpointError, match=reason) as caught:
            read_torch_file(path)
        assert str(caught.value).isprintable()


def test_neither_reading_nor_writing_needs_torch_or_jax(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from aasist_jax.weights.torch_file import read_torch_file, write_torch_file\n"
        "write_torch_file(sys.argv[1], {'a': np.ones(3, np.float32)})\n"
        "assert read_torch_file(sys.argv[1])['a'].tolist() == [1, 1, 1]\n"
        "assert 'jax' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.pth")], check=True, cwd=REPOSITORY)


ARRAYS = st.sampled_from(sorted(map(str, STORAGE_DTYPES.values()))).flatmap(
    lambda dtype: numpy_strategies.arrays(dtype, numpy_strategies.array_shapes(min_dims=0, min_side=0))
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), ARRAYS, min_size=1, max_size=5))
def test_any_state_dict_survives_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pth"
    write_torch_file(path, arrays)
    assert_same(read_torch_file(path), arrays)
