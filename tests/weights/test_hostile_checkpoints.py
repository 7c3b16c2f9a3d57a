"""Hostile checkpoints: each is refused for its own reason, in one line, and nothing that it says is run."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from aasist_jax.errors import CheckpointError
from aasist_jax.weights.torch_file import read_torch_file, write_torch_file
from aasist_jax.weights.torch_zip import MAX_FILE_BYTES
from tests.conftest import REFERENCE, REPOSITORY
from tests.weights.attacks import ATTACKS, LARGE_ATTACKS
from tests.weights.checkpoint_bytes import (
    FOUR_FLOATS,
    HARMLESS,
    ZIP64_HARMLESS,
    Member,
    checkpoint,
    document,
    entries,
    harmless_zip,
    integer,
    integers,
    laughs,
    tensor,
    text,
)

DESCRIPTOR = struct.pack("<4s3I", b"PK\x07\x08", crc32(FOUR_FLOATS), 16, 16)
WEIGHTS = "archive/data/0"
METADATA = b"}" + text("_metadata") + b"}" + text("") + integer(1) + b"ssb"

HARMLESS_FILES = {
    "plain": HARMLESS,
    "zip64 records": ZIP64_HARMLESS,
    "data descriptor": harmless_zip(1, Member(WEIGHTS, FOUR_FLOATS, flags=8, trailing=DESCRIPTOR)),
    "padding": harmless_zip(1, Member(WEIGHTS, FOUR_FLOATS, local_extra=b"FB\x03\x00ZZZ")),
    "another top folder": HARMLESS.replace(b"archive", b"model 1"),
    "module versions": checkpoint(entries(w=tensor()) + METADATA),
    "laughs in the module versions": checkpoint(
        entries(w=tensor()) + b"}" + text("_metadata") + laughs(20, b"(", b"t") + b"sb"
    ),
    "four tensors over one storage": checkpoint(entries(w=tensor(), x=tensor(), y=tensor(), z=tensor())),
    "an empty tensor at the end": checkpoint(entries(w=tensor(), x=tensor(offset=integer(4), shape=integers(0)))),
    "a training checkpoint": checkpoint(
        entries(state_dict=entries(w=tensor()), epoch=integer(3), optimizer=b"}" + integer(0) + tensor() + b"s")
    ),
}


@pytest.mark.parametrize("name", HARMLESS_FILES)
def test_the_harmless_form_of_an_attack_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "harmless.pth"
    path.write_bytes(HARMLESS_FILES[name])
    assert read_torch_file(path)["w"].tobytes() == FOUR_FLOATS


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused_for_its_own_reason(tmp_path: Path, name: str) -> None:
    data, reason = ATTACKS[name]
    path = tmp_path / "hostile.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        read_torch_file(path)
    message = str(caught.value)
    assert reason in message
    assert message.isprintable()
    assert "hostile.pth" in message
    assert "re-save it" in message
    assert len(message) < 500 + len(str(path))


def test_every_truncation_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    for length in range(len(HARMLESS)):
        path.write_bytes(HARMLESS[:length])
        with pytest.raises(CheckpointError):
            read_torch_file(path)


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.pth"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(CheckpointError, match="more than the limit of 2147483647"):
        read_torch_file(path)


def test_attacks_are_what_they_claim() -> None:
    """The builder's pickles do run when Python's own unpickler reads them, so a refusal means something."""
    body = entries(w=b"cos\n_exit\n(" + integer(77) + b"tR")
    code = f"import pickle; pickle.loads({document(body)!r})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 77


def run_mutations(source: Path, count: int, folder: Path) -> None:
    command = [sys.executable, "-m", "tests.weights.mutations", str(source), str(count), str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    # The hook is awake: it saw Python's own unpickler do what this package's reader must not.
    assert set(result["control"]) >= {"compile", "exec", "pickle.find_class"}
    assert result["violations"] == []
    assert result["attacks"] == {"read": 0, "refused": len(ATTACKS | LARGE_ATTACKS), "violation": 0}
    tally = result["mutations"]
    assert tally["read"] + tally["refused"] == count
    # Both outcomes occur: the damage is neither all harmless nor all stopped at the door.
    assert tally["read"] > count // 100
    assert tally["refused"] > count // 2
    assert list(folder.iterdir()) == [folder / "mutant.pth"]


def source_file(folder: Path) -> Path:
    """The official AASIST-L checkpoint, or a small one of our own where the reference folder is missing."""
    official = REFERENCE / "weights" / "AASIST-L.pth"
    if official.is_file():
        return official
    own = folder / "own.pth"
    rng = np.random.default_rng(0)
    write_torch_file(own, {f"layer{i}.weight": rng.normal(size=(i % 7, 3)).astype("f4") for i in range(40)})
    return own


def test_mutated_checkpoints_run_nothing(tmp_path: Path) -> None:
    (tmp_path / "mutants").mkdir()
    run_mutations(source_file(tmp_path), 500, tmp_path / "mutants")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_mutated_checkpoints_run_nothing(tmp_path: Path) -> None:
    (tmp_path / "mutants").mkdir()
    run_mutations(source_file(tmp_path), 10_000, tmp_path / "mutants")
