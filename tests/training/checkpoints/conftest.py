"""A folder of good checkpoints, and copies of it to damage."""

import shutil
from pathlib import Path

import pytest

from aasist_jax.training.checkpoints.store import CheckpointStore
from tests.training.checkpoints.states import save_steps


@pytest.fixture(scope="session")
def three_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the good steps 1, 2 and 3; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("three") / "checkpoints"
    with CheckpointStore(folder, keep_latest=3) as store:
        save_steps(store, range(1, 4), lambda step: None)
    return folder


@pytest.fixture
def damaged(three_steps: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three_steps, tmp_path / "checkpoints"))
