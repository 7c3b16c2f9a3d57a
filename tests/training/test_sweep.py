"""A sweep in real processes: what has ended is not repeated, what was killed goes on, what fails stops nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aasist_jax.models.family import register, unregister
from aasist_jax.training.sweep import run_sweep
from aasist_jax.training.sweep_plan import PlannedRun, plan_sweep
from aasist_jax.training.sweep_table import SweptRun
from tests.conftest import REPOSITORY
from tests.models.toys import trained
from tests.training.short_run import child_environment, make_config, outcome, outcome_differences, write_corpus

WITH_THE_TOY = """
import sys
# Where PyTorch is installed tensorboardX imports it, which takes longer than all other imports together.
sys.modules["torch"] = None
from aasist_jax.models.family import register
from tests.models.toys import trained
register(trained.FAMILY)
"""
TRAIN = [sys.executable, "-c", WITH_THE_TOY + "from aasist_jax.commands.app import run_verb\nrun_verb('train')"]
SWEEP = (
    WITH_THE_TOY
    + """
from pathlib import Path
from aasist_jax.training.sweep import run_sweep
from aasist_jax.training.sweep_plan import plan_sweep
file, folder, *program = sys.argv[1:]
runs = plan_sweep(Path(file), Path(folder))
run_sweep(runs, Path(folder), Path(file), program, report=lambda swept, done: print("done", done, flush=True))
"""
)


@pytest.fixture(scope="module", autouse=True)
def _children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes that know the toy and need not compile it twice."""
    register(trained.FAMILY)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in child_environment(tmp_path_factory.mktemp("compiled")).items():
            patch.setenv(name, value)
        yield
    unregister(trained.FAMILY.name)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rates of which one is tried on too few clips, so that it fails."""
    folder = tmp_path_factory.mktemp("sweep")
    config = make_config(write_corpus(folder / "LA"), model_config=trained.MODEL_CONFIG, num_epochs=2)
    (folder / "base.json").write_text(json.dumps(config))
    sweep = {
        "config": str(folder / "base.json"),
        "choices": [{"optim_config.base_lr": 0.01}, {"batch_size": 1000}, {"optim_config.base_lr": 0.001}],
        "seeds": [7],
    }
    (folder / "sweep.json").write_text(json.dumps(sweep))
    return folder / "sweep.json"


@pytest.fixture(scope="module")
def alone(file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[SweptRun]:
    """A sweep that was left alone, two runs at a time."""
    return sweep(file, tmp_path_factory.mktemp("alone"), processes=2)


def sweep(file: Path, folder: Path, processes: int = 1) -> list[SweptRun]:
    return run_sweep(plan_sweep(file, folder), folder, file, TRAIN, processes=processes)


def test_what_fails_is_told_and_stops_nothing(alone: list[SweptRun]) -> None:
    assert [each.state for each in alone] == ["finished", "failed", "finished"]
    assert alone[1].fault.startswith("batch_size: 48 training clips do not fill one batch of 1000; --set batch_size=48")
    folder = alone[0].run.folder.parents[1]
    assert "2 of 2" not in (folder / "sweep.md").read_text()
    assert (folder / "sweep.md").read_text().count("| 1 of 1 |") == 2
    assert (folder / "sweep.csv").read_text().count("\n") == 4


def test_runs_are_those_of_train_but_for_eval(alone: list[SweptRun]) -> None:
    summary = json.loads((alone[0].run.folder / "summary.json").read_text())
    assert alone[0].figures["dev_eer"] == summary["dev"]["eer"]
    assert "eval" not in summary
    assert (alone[0].run.folder / "weights" / "model.safetensors").is_file()
    assert not list(alone[0].run.folder.glob("scores/eval*"))


def test_runs_that_have_ended_are_not_repeated(alone: list[SweptRun], file: Path) -> None:
    folder = alone[0].run.folder.parents[1]
    before = {path: path.stat().st_mtime_ns for each in alone[::2] for path in each.run.folder.rglob("*")}
    assert sweep(file, folder) == alone
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_run_in_the_folder_is_told(alone: list[SweptRun], file: Path) -> None:
    base = json.loads(file.with_name("base.json").read_text())
    file.with_name("base.json").write_text(json.dumps(base | {"num_epochs": 3}))
    try:
        again = sweep(file, alone[0].run.folder.parents[1])
    finally:
        file.with_name("base.json").write_text(json.dumps(base))
    assert "its config.json is not as it was written (num_epochs: was 3, is 2); give another" in again[0].fault
    assert [each.state for each in again] == ["failed"] * 3


def checkpoints(run: PlannedRun) -> list[str]:
    folder = run.folder / "checkpoints"
    return [entry.name for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []


@pytest.mark.parametrize("with_its_run", [True, False])
def test_killed(alone: list[SweptRun], file: Path, tmp_path: Path, with_its_run: bool) -> None:
    """Where the run under way lives on, the next start waits for it; otherwise it resumes the run."""
    runs = plan_sweep(file, tmp_path / "runs")
    arguments = [sys.executable, "-c", SWEEP, str(file), str(tmp_path / "runs"), *TRAIN]
    with subprocess.Popen(
        arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done 1\n"
        assert child.stdout.readline() == "done 2\n"
        while not checkpoints(runs[2]):
            time.sleep(0.05)
        (os.killpg if with_its_run else os.kill)(child.pid, signal.SIGKILL)
    ended = (runs[0].folder / "summary.json").stat().st_mtime_ns
    again = sweep(file, tmp_path / "runs")
    assert [each.figures for each in again] == [each.figures for each in alone]
    assert (runs[0].folder / "summary.json").stat().st_mtime_ns == ended
    assert outcome_differences(outcome(alone[2].run.folder), outcome(runs[2].folder)) == []


def test_asked_to_stop(file: Path, tmp_path: Path) -> None:
    """The run under way saves a checkpoint, and no other is started."""
    folder, long = tmp_path / "runs", tmp_path / "long.json"
    # So many epochs that the run cannot have come to its end.
    long.write_text(json.dumps(json.loads(file.read_text()) | {"set": {"num_epochs": 1000}}))
    arguments = [sys.executable, "-c", SWEEP, str(long), str(folder), *TRAIN]
    runs = plan_sweep(long, folder)
    with subprocess.Popen(arguments, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as child:
        while not checkpoints(runs[0]):
            time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        assert "StopRequested" in child.communicate(timeout=100)[1]
    assert not runs[2].folder.exists()
    log = runs[0].folder.with_name("seed-7.log").read_text()
    assert "stopped on request" in log
