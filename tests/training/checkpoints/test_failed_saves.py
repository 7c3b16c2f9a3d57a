"""Saves that the disk refuses: told in one line, nothing is lost, and saving goes on once there is room."""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from aasist_jax.errors import TrainingError
from aasist_jax.training.checkpoints import store as store_module
from aasist_jax.training.checkpoints.store import CheckpointStore
from tests.training.checkpoints.states import assert_identical, files_of, save_steps, small_state


def large_state(step: int) -> dict[str, Any]:
    """About 1 MB that does not compress."""
    return {"w": jnp.asarray(np.random.default_rng(step).standard_normal(250_000), jnp.float32)}


@contextmanager
def small_files_only(folder: Path) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def full_disk(folder: Path, left: int) -> Iterator[None]:
    free = os.statvfs(folder)
    with (folder.parent / "ballast").open("wb") as ballast:
        ballast.write(bytes(free.f_bavail * free.f_bsize - left))
    try:
        yield
    finally:
        (folder.parent / "ballast").unlink()


def check_failed_saves(folder: Path, out_of_space: Callable[[], Any]) -> None:
    """A save that the disk refuses: told at `wait` and at the next `save`, nothing lost, goes on once it can."""
    with CheckpointStore(folder, keep_latest=1, keep_best=0) as store:
        store.save(1, large_state(1), data={}, extras={"step": 1})
        store.wait()
        before = {path: path.read_bytes() for path in files_of(folder)}
        message = r"^checkpoint of step \d not saved: the disk is full .*; step 1 stays the newest good one in .*$"
        with out_of_space():
            store.save(2, large_state(2), data={}, extras={})
            with pytest.raises(TrainingError, match=message):
                store.wait()
            store.wait()  # Told once.
            store.save(3, large_state(3), data={}, extras={})
            with pytest.raises(TrainingError, match=message) as caught:
                store.save(4, large_state(4), data={}, extras={})
            assert "\n" not in str(caught.value)
            assert {path: path.read_bytes() for path in files_of(folder)} == before
            restored = store.restore(large_state(0))
            assert restored is not None
            assert_identical(restored.state, large_state(1))
        store.save(4, large_state(4), data={}, extras={"step": 4})
        store.wait()
        assert store.steps() == [4]
    with CheckpointStore(folder) as store:
        restored = store.restore(large_state(0))
        assert restored is not None
        assert (restored.extras, restored.rejected) == ({"step": 4}, ())
        assert_identical(restored.state, large_state(4))


@pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")
def test_a_file_size_limit_is_told(tmp_path: Path) -> None:
    check_failed_saves(tmp_path / "checkpoints", lambda: small_files_only(tmp_path))


@pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")
def test_writes_that_end_after_the_error_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orbax reports the tensors' error while it still has other files to write, the tensors' metadata last."""
    write_text, written = epath.Path.write_text, []

    def write_slowly(path: epath.Path, *args: Any, **keywords: Any) -> Any:
        time.sleep(1.5 if path.name == "process_0" else 0.2)
        path.parent.mkdir(parents=True, exist_ok=True)
        written.append(path.name)
        return write_text(path, *args, **keywords)

    with CheckpointStore(tmp_path) as store:
        store.save(1, large_state(1), data={}, extras={})
        store.wait()
        before = files_of(tmp_path)
        with small_files_only(tmp_path), monkeypatch.context() as patch:
            patch.setattr(type(epath.Path()), "write_text", write_slowly)
            store.save(2, large_state(2), data={}, extras={})
            with pytest.raises(TrainingError, match="step 2 not saved"):
                store.wait()
            assert "process_0" in written
        assert files_of(tmp_path) == before
        # What a library's own threads, or another process, write even later goes with the next save, or the end.
        late = tmp_path / "2.orbax-checkpoint-tmp" / "state" / "late"
        for clear in (lambda: save_steps(store, [3], lambda step: None), store.close):
            late.parent.mkdir(parents=True)
            late.write_text("late")
            clear()
            assert not late.parent.parent.exists()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a tmpfs needs root; the test with a file size limit covers the same path")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# After a failed save, writes that Orbax no longer waits for report to an event loop that it has closed.
@pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("left", [0, 500_000])
def test_a_full_disk_is_told(tiny_disk: Path, left: int) -> None:
    folder = tiny_disk / "checkpoints"
    check_failed_saves(folder, lambda: full_disk(folder, left))


def test_a_manifest_that_cannot_be_written_fails_the_save(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(5, "Input/output error")

    with CheckpointStore(damaged, keep_latest=1) as store:
        with monkeypatch.context() as patch:
            patch.setattr(store_module, "write_manifest", refuse)
            store.save(4, small_state(4), data={}, extras={})
            with pytest.raises(TrainingError, match=r"step 4 not saved: .*Input/output error; step 3 stays"):
                store.wait()
        assert not (damaged / "4").exists()
        assert store.steps() == [1, 2, 3]
        save_steps(store, [4], lambda step: None)
        assert store.steps() == [4]
