"""Checkpoints: exact round trips, retention, and what happens to damaged, half-written and unwritable ones."""

import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from aasist_jax.errors import TrainingError
from aasist_jax.training import checkpoints
from aasist_jax.training.checkpoints import CheckpointStore
from aasist_jax.training.manifest import MANIFEST, find_fault, read_manifest, write_manifest

from .checkpoint_child import make_extras, make_state
from .two_processes import start_two, wait_for

CHILD = Path(__file__).with_name("checkpoint_child.py")
TWO_PROCESSES = Path(__file__).with_name("checkpoint_two_processes.py")


class Moments(NamedTuple):
    count: Any
    mean: Any


def over_devices(*axes: str) -> NamedSharding:
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec(*axes))


def rich_state(seed: int) -> dict[str, Any]:
    """Every dtype, placement and container that a training state is made of."""
    rng = np.random.default_rng(seed)
    odd = np.array([np.nan, -0.0, np.inf, 1e-45, -1e-40], np.float32)  # Bits that arithmetic would not keep.
    return {
        "float32": jnp.asarray(rng.standard_normal((5, 7)), jnp.float32),
        "odd": jnp.asarray(odd),
        "bfloat16": jnp.asarray(rng.standard_normal(9), jnp.bfloat16),
        "int32": jnp.asarray(seed, jnp.int32),
        "key": jax.random.PRNGKey(seed),
        "numpy_float64": rng.standard_normal(3),
        "replicated": jax.device_put(rng.standard_normal((3, 5)).astype(np.float32), over_devices()),
        "sharded": jax.device_put(rng.standard_normal((16, 2)).astype(np.float32), over_devices("batch")),
        "third_device": jax.device_put(np.arange(4.0, dtype=np.float32), jax.devices()[2]),
        "optimizer": (Moments(jnp.asarray(seed), {"w": jnp.zeros((2, 2))}), None, [jnp.ones((1,))], {}),
    }


def assert_identical(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert isinstance(one, jax.Array) == isinstance(other, jax.Array)
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def small_state(step: int) -> dict[str, Any]:
    return jax.tree.map(jnp.asarray, make_state(step))


def save_steps(store: CheckpointStore, steps: range | list[int], metric: Callable[[int], float | None]) -> None:
    for step in steps:
        store.save(step, small_state(step), data={"position": 3 * step}, extras=make_extras(step), metric=metric(step))
    store.wait()


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def three_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the good steps 1, 2 and 3; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("three") / "checkpoints"
    with CheckpointStore(folder, keep_latest=3) as store:
        save_steps(store, range(1, 4), lambda step: None)
    return folder


@pytest.fixture
def damaged(three_steps: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three_steps, tmp_path / "checkpoints"))


def test_round_trip_to_the_bit(tmp_path: Path) -> None:
    state = rich_state(1)
    extras = {"best": 0.1 + 0.2, "epoch": 3, "config": {"name": "AASIST-L", "bands": [1, 2]}, "nothing": None}
    with CheckpointStore(tmp_path) as store:
        assert store.restore(state) is None
        store.save(7, state, data={"next_index": 5}, extras=extras, metric=0.3)
    with CheckpointStore(tmp_path) as store:
        restored = store.restore(rich_state(2))
        assert restored is not None
        assert (restored.step, restored.data, restored.extras) == (7, {"next_index": 5}, extras)
        assert restored.rejected == ()
        assert_identical(restored.state, state)
        for name, leaf in state.items():
            if isinstance(leaf, jax.Array):
                assert restored.state[name].sharding == leaf.sharding, name
                assert restored.state[name].committed == leaf.committed, name


def test_float64_arrays_of_jax(tmp_path: Path) -> None:
    with jax.enable_x64(True), CheckpointStore(tmp_path) as store:
        state = {"value": jnp.asarray([0.1, np.pi]), "placed": jax.device_put(np.arange(3) / 7, over_devices())}
        assert state["value"].dtype == np.float64
        store.save(1, state, data=None, extras=None)
        restored = store.restore(jax.tree.map(jnp.zeros_like, state))
        assert restored is not None
        assert_identical(restored.state, state)


def test_restores_with_the_shardings_of_the_template(tmp_path: Path) -> None:
    value = np.arange(16, dtype=np.float32)
    with CheckpointStore(tmp_path) as store:
        store.save(1, {"x": jnp.asarray(value), "y": jax.device_put(value, over_devices("batch"))}, data={}, extras={})
        shardings = {"x": over_devices(), "y": SingleDeviceSharding(jax.devices()[5])}
        template = {
            name: jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding)
            for name, sharding in shardings.items()
        }
        restored = store.restore(template)
        assert restored is not None
        for name, sharding in shardings.items():
            assert restored.state[name].sharding == sharding
            np.testing.assert_array_equal(restored.state[name], value)


def test_restored_state_still_follows_other_arrays_to_their_devices(tmp_path: Path) -> None:
    with CheckpointStore(tmp_path) as store:
        store.save(1, {"w": jnp.ones(8)}, data={}, extras={})
        restored = store.restore({"w": jnp.zeros(8)})
    assert restored is not None
    batch = jax.device_put(np.arange(8, dtype=np.float32), over_devices("batch"))
    np.testing.assert_array_equal(jax.jit(jnp.multiply)(restored.state["w"], batch), np.arange(8))


def test_state_may_be_donated_or_changed_once_save_returns(tmp_path: Path) -> None:
    size = 2**21  # Large enough that the write is still going on when the buffers are overwritten.
    value = np.arange(size, dtype=np.float32)

    def fresh() -> dict[str, Any]:
        return {
            "single": jax.device_put(value, jax.devices()[0]) + 0,
            "replicated": jax.device_put(value, over_devices()) + 0,
            "sharded": jax.device_put(value, over_devices("batch")) + 0,
            "odd_size": jax.device_put(value[:-3], over_devices()) + 0,
            "numpy": value.copy(),
        }

    state = jax.block_until_ready(fresh())
    overwrite = jax.jit(lambda array: array * 0 - 1, donate_argnums=0)
    with CheckpointStore(tmp_path) as store:
        store.save(1, state, data={}, extras={})
        assert store.steps() == []  # Still being written.
        host = state.pop("numpy")
        jax.block_until_ready({name: overwrite(array) for name, array in state.items()})
        host[:] = -1
        restored = store.restore(fresh())
    assert restored is not None
    assert_identical(restored.state, fresh())


@pytest.mark.parametrize(("mode", "best"), [("min", 0), ("max", 4)])
def test_keeps_the_latest_and_the_best(tmp_path: Path, mode: Any, best: int) -> None:
    metrics = {0: 0.1, 1: 0.5, 3: float("nan"), 4: 0.9, 5: 0.5, 6: None, 7: 0.5}
    with CheckpointStore(tmp_path, keep_latest=2, keep_best=1, best_mode=mode) as store:
        save_steps(store, list(metrics), metrics.__getitem__)
        assert store.steps() == [best, 6, 7]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".lock", str(best), "6", "7"])
    with CheckpointStore(tmp_path, keep_latest=1, keep_best=1, best_mode=mode) as store:  # Metrics are remembered.
        newest, chosen = store.restore(make_state(0)), store.restore(make_state(0), best=True)
        assert newest is not None
        assert chosen is not None
        assert (newest.step, chosen.step) == (7, best)
        assert_identical(chosen.state, make_state(best))
        save_steps(store, [8], lambda step: 0.5)
        assert store.steps() == [best, 8]


def test_nothing_is_deleted_before_the_new_step_has_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spy(folder: Path, *args: Any) -> Any:
        seen.append(sorted(int(path.name) for path in folder.parent.glob("[0-9]*") if path != folder))
        return write_manifest(folder, *args)

    monkeypatch.setattr(checkpoints, "write_manifest", spy)
    with CheckpointStore(tmp_path, keep_latest=1, keep_best=0) as store:
        save_steps(store, range(1, 4), lambda step: None)
        assert store.steps() == [3]
    assert seen == [[], [1], [2]]


def flip(path: Path, bit: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)


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


def test_a_template_that_differs_is_named_leaf_by_leaf(damaged: Path) -> None:
    template = {"weight": jnp.zeros((64, 32)), "extra": jnp.zeros(2, jnp.bfloat16)}
    with CheckpointStore(damaged) as store:
        with pytest.raises(TrainingError) as caught:
            store.restore(template)
        assert str(caught.value) == (
            "the checkpoint of step 3 does not fit this model and optimizer, 3 leaves differ: "
            "['extra'] missing, wanted bfloat16[2]; ['step'] int32[], wanted none; "
            "['weight'] float32[64,33], wanted float32[64,32]"
        )
        assert store.steps() == [1, 2, 3]
        assert store.restore(make_state(0)) is not None


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    state = {"w": jnp.zeros(2)}
    with CheckpointStore(tmp_path) as store:
        with pytest.raises(TrainingError, match=r"\['lr'\] is of type float, not an array"):
            store.save(1, {"lr": 0.1}, data={}, extras={})
        with pytest.raises(TrainingError, match="data and extras must fit into JSON"):
            store.save(1, state, data={}, extras={"a": object()})
        store.save(2, state, data={}, extras={})
        for step in (2, 1):
            with pytest.raises(TrainingError, match=f"cannot save step {step}: .* already has step 2"):
                store.save(step, state, data={}, extras={})
        assert store.steps() == [2]
    with pytest.raises(TrainingError, match="is closed"):
        store.save(3, state, data={}, extras={})
    with pytest.raises(TrainingError, match="keep_latest=0 must be at least 1"):
        CheckpointStore(tmp_path, keep_latest=0)


def test_a_folder_serves_one_run_at_a_time(tmp_path: Path) -> None:
    with CheckpointStore(tmp_path), pytest.raises(TrainingError, match="in use by another run"):
        CheckpointStore(tmp_path)
    CheckpointStore(tmp_path).close()
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"cannot keep checkpoints in .*/file/below: .*Not a directory"):
        CheckpointStore(tmp_path / "file" / "below")


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
            patch.setattr(checkpoints, "write_manifest", refuse)
            store.save(4, small_state(4), data={}, extras={})
            with pytest.raises(TrainingError, match=r"step 4 not saved: .*Input/output error; step 3 stays"):
                store.wait()
        assert not (damaged / "4").exists()
        assert store.steps() == [1, 2, 3]
        save_steps(store, [4], lambda step: None)
        assert store.steps() == [4]


def run_child(folder: Path, *arguments: str, seconds: float | None = None) -> int:
    """Run the child until it kills itself or, after `seconds`, is killed. The last step it knew to be kept."""
    environment = {**os.environ, "PYTHONPATH": str(CHILD.parents[2])}
    command = [sys.executable, "-W", "error", str(CHILD), str(folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        try:
            assert child.stdout is not None
            first = child.stdout.readline()
            if seconds is not None:
                time.sleep(seconds)
                child.kill()
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert first == "ready\n", err
    assert child.returncode == -9, err
    return max((int(line.removeprefix("kept ")) for line in out.split("\n")[:-1]), default=0)


def check_after_kill(folder: Path, kept: int, earlier: int) -> int:
    """The newest good step is there, is exactly what was saved, and the folder holds nothing half done."""
    with CheckpointStore(folder) as store:
        restored = store.restore(make_state(0))
        assert {rejected.reason for rejected in store.rejected} <= {f"unfinished: no {MANIFEST}"}
        assert not [path for path in folder.iterdir() if "tmp" in path.name or path.name == "deleted"]
        if restored is None:
            assert kept == earlier == 0
            return 0
        assert restored.step >= max(kept, earlier)
        assert_identical(restored.state, make_state(restored.step))
        assert restored.data == {"position": 3 * restored.step}
        assert restored.extras == make_extras(restored.step)
        return restored.step


def kill_at_random(folder: Path, times: int) -> None:
    rng = random.Random(times)
    step = 0
    for _ in range(times):
        kept = run_child(folder, seconds=rng.uniform(0, 1.2))
        step = check_after_kill(folder, kept, step)
    assert step > 0


def test_killed_at_random_moments(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 8)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_many_random_moments(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 50)


@pytest.mark.parametrize("point", ["manifest", "draft", "deletion"])
def test_killed_at_a_delicate_moment(tmp_path: Path, point: str) -> None:
    kept = run_child(tmp_path, point, "5")
    assert kept >= 4
    leftovers = {"manifest": "5", "draft": f"5/{MANIFEST}.tmp", "deletion": "deleted"}
    assert (tmp_path / leftovers[point]).exists()
    assert check_after_kill(tmp_path, kept, 0) == (kept + 1 if point == "deletion" else 4)
    with CheckpointStore(tmp_path) as store:
        save_steps(store, [store.steps()[-1] + 1], lambda step: 0.0)


@pytest.mark.parametrize("ending", ["", "raise ValueError"])
def test_a_program_that_just_ends_does_not_lose_its_last_save(tmp_path: Path, ending: str) -> None:
    program = f"""
import jax.numpy as jnp
from aasist_jax.training.checkpoints import CheckpointStore
store = CheckpointStore({str(tmp_path)!r})
store.save(1, {{"w": jnp.arange(2**20)}}, data={{}}, extras={{}})
{ending}
"""
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=CHILD.parents[2], capture_output=True, check=False
    )
    with CheckpointStore(tmp_path) as store:
        restored = store.restore({"w": jnp.zeros(2**20, jnp.int32)})
    assert restored is not None
    np.testing.assert_array_equal(restored.state["w"], np.arange(2**20))


def test_two_processes_save_and_restore_together(tmp_path: Path) -> None:
    with start_two(lambda index, port: [str(TWO_PROCESSES), str(index), str(port), str(tmp_path)]) as processes:
        output, other_output = wait_for(processes, timeout=120)
    assert output.splitlines()[-1] == "3 [4] [1, 3]"
    assert other_output.splitlines()[-1] == "3 [] [1, 3]"
