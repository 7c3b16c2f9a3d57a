"""The checkpoint store: exact round trips, what stays and what goes, and what it refuses."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from aasist_jax.errors import TrainingError
from aasist_jax.training.checkpoints import store as store_module
from aasist_jax.training.checkpoints.manifest import write_manifest
from aasist_jax.training.checkpoints.store import CheckpointStore
from tests.training.checkpoints.child import make_state
from tests.training.checkpoints.states import assert_identical, over_devices, rich_state, save_steps
from tests.training.two_processes import start_two, wait_for

TWO_PROCESSES = Path(__file__).with_name("two_processes_child.py")


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

    monkeypatch.setattr(store_module, "write_manifest", spy)
    with CheckpointStore(tmp_path, keep_latest=1, keep_best=0) as store:
        save_steps(store, range(1, 4), lambda step: None)
        assert store.steps() == [3]
    assert seen == [[], [1], [2]]


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


def test_two_processes_save_and_restore_together(tmp_path: Path) -> None:
    with start_two(lambda index, port: [str(TWO_PROCESSES), str(index), str(port), str(tmp_path)]) as processes:
        output, other_output = wait_for(processes, timeout=120)
    assert output.splitlines()[-1] == "3 [4] [1, 3]"
    assert other_output.splitlines()[-1] == "3 [] [1, 3]"
