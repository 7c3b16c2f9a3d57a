"""Damaged and unfinished checkpoints are found, whatever has happened to them, and are never restored."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aasist_jax.errors import TrainingError
from aasist_jax.training.checkpoints.manifest import MANIFEST, find_fault, read_manifest
from aasist_jax.training.checkpoints.store import CheckpointStore
from tests.training.checkpoints.child import make_extras, make_state
from tests.training.checkpoints.states import assert_identical, files_of, flip, save_steps


def test_every_flipped_bit_is_detected(damaged: Path) -> None:
    rng = random.Random(0)
    flips = 0
    for step in (1, 2, 3):
        folder = damaged / str(step)
        for path in files_of(folder):
            for bit in rng.sample(range(8 * path.stat().st_size), k=6):
                flip(path, bit)
                fault = find_fault(folder, step)
                assert fault is not None, (path, bit)
                assert fault.startswith("damaged")
                assert path.name in fault
                flip(path, bit)
                flips += 1
        assert find_fault(folder, step) is None
    assert flips >= 300


def test_every_bit_of_the_manifest_counts(damaged: Path) -> None:
    manifest = damaged / "3" / MANIFEST
    for bit in range(0, 8 * manifest.stat().st_size, 101):
        flip(manifest, bit)
        with pytest.raises(ValueError, match=MANIFEST):
            read_manifest(damaged / "3")
        flip(manifest, bit)
    read_manifest(damaged / "3")


def test_every_truncated_missing_and_added_file_is_detected(damaged: Path) -> None:
    for step in (1, 2, 3):
        folder = damaged / str(step)
        for path in files_of(folder):
            raw = path.read_bytes()
            for other_length in (raw[: step * len(raw) // 4], raw + b"\0"):
                path.write_bytes(other_length)
                assert path.name in str(find_fault(folder, step))
            path.unlink()
            assert path.name in str(find_fault(folder, step))
            os.mkfifo(path)
            assert str(find_fault(folder, step)).startswith("damaged")
            path.unlink()
            path.write_bytes(raw)
        for directory in {path.parent for path in files_of(folder)}:
            added = directory / "added"
            added.write_bytes(b"")
            assert "added is not in the manifest" in str(find_fault(folder, step))
            added.unlink()
        assert find_fault(folder, step) is None
    (damaged / "3").rename(damaged / "4")
    assert find_fault(damaged / "4", 4) == "damaged: manifest.json is that of step 3"


def flip_somewhere(path: Path) -> None:
    flip(path, 4 * path.stat().st_size)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("damage", [flip_somewhere, cut, Path.unlink])
@pytest.mark.parametrize("name", [MANIFEST, "_CHECKPOINT_METADATA", "extras/metadata", "state/_METADATA", "state/d/"])
def test_restore_falls_back_past_damage_and_goes_on(damaged: Path, damage: Callable[[Path], None], name: str) -> None:
    path = next(path for path in files_of(damaged / "3") if name in str(path))
    damage(path)
    flip(files_of(damaged / "2" / "state")[0], 3)
    with CheckpointStore(damaged, keep_latest=1, keep_best=0) as store:
        restored = store.restore(make_state(0))
        assert restored is not None
        assert restored.step == 1
        assert_identical(restored.state, make_state(1))
        assert (restored.data, restored.extras) == ({"position": 3}, make_extras(1))
        assert [rejected.step for rejected in restored.rejected] == [2, 3]
        newest = restored.rejected[-1]
        unfinished = damage is Path.unlink and name == MANIFEST
        assert newest.reason.startswith("unfinished" if unfinished else "damaged")
        assert path.name in str(newest)
        assert newest.kept_in.is_dir()  # Set aside, not destroyed.
        save_steps(store, [3], lambda step: None)  # The same number again.
        assert store.steps() == [3]
    with CheckpointStore(damaged) as store:
        restored = store.restore(make_state(0))
        assert restored is not None
        assert (restored.step, restored.rejected) == (3, ())


def test_damage_after_opening_is_found_on_restore(damaged: Path) -> None:
    with CheckpointStore(damaged) as store:
        flip(files_of(damaged / "3" / "state")[-1], 0)
        restored = store.restore(make_state(0))
        assert restored is not None
        assert restored.step == 2
        assert store.steps() == [1, 2]
        assert [rejected.step for rejected in store.rejected] == [3]


def test_nothing_good_left_is_an_error(damaged: Path) -> None:
    for step in (1, 2, 3):
        flip(files_of(damaged / str(step))[0], 0)
    with (
        CheckpointStore(damaged) as store,
        pytest.raises(TrainingError, match=r"no checkpoint in .* can be trusted: step 1 damaged: .*rejected"),
    ):
        store.restore(make_state(0))
    with CheckpointStore(damaged) as store:  # The way out that the message names.
        assert store.restore(make_state(0)) is None


def test_leftovers_of_a_killed_first_save_are_no_error(tmp_path: Path, three_steps: Path) -> None:
    shutil.copytree(three_steps / "1", tmp_path / "1")
    (tmp_path / "1" / MANIFEST).unlink()
    (tmp_path / "2.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    (tmp_path / "deleted" / "0").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    with CheckpointStore(tmp_path) as store:
        assert store.restore(make_state(0)) is None
        assert [str(rejected.step) + rejected.reason for rejected in store.rejected] == [f"1unfinished: no {MANIFEST}"]
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "notes", "rejected"]
