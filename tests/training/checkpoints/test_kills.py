"""A run that is killed at any moment has lost at most the step that it was saving."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.training.checkpoints.manifest import MANIFEST
from aasist_jax.training.checkpoints.store import CheckpointStore
from tests.conftest import REPOSITORY
from tests.training.checkpoints.child import make_extras, make_state
from tests.training.checkpoints.states import assert_identical, save_steps

CHILD = Path(__file__).with_name("child.py")


def run_child(folder: Path, *arguments: str, seconds: float | None = None) -> int:
    """Run the child until it kills itself or, after `seconds`, is killed. The last step it knew to be kept."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
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
    leftovers = {"manifest": "5", "draft": f"5/.{MANIFEST}.*.writing", "deletion": "deleted"}
    assert [*tmp_path.glob(leftovers[point])]
    assert check_after_kill(tmp_path, kept, 0) == (kept + 1 if point == "deletion" else 4)
    with CheckpointStore(tmp_path) as store:
        save_steps(store, [store.steps()[-1] + 1], lambda step: 0.0)


@pytest.mark.parametrize("ending", ["", "raise ValueError"])
def test_a_program_that_just_ends_does_not_lose_its_last_save(tmp_path: Path, ending: str) -> None:
    program = f"""
import jax.numpy as jnp
from aasist_jax.training.checkpoints.store import CheckpointStore
store = CheckpointStore({str(tmp_path)!r})
store.save(1, {{"w": jnp.arange(2**20)}}, data={{}}, extras={{}})
{ending}
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=REPOSITORY, capture_output=True, check=False)
    with CheckpointStore(tmp_path) as store:
        restored = store.restore({"w": jnp.zeros(2**20, jnp.int32)})
    assert restored is not None
    np.testing.assert_array_equal(restored.state["w"], np.arange(2**20))
