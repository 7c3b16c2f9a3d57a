"""Real runs, stopped by real signals and real faults, end in the bits of the run that was left alone.

They are of a tiny AASIST. Their default form is of a toy with batch norm and dropout: AASIST takes several seconds to
trace at every start, the toy a fraction of one.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aasist_jax.augmentation import kind_names
from aasist_jax.commands.exit_codes import STOPPED
from aasist_jax.detection.detector import Detector
from aasist_jax.models.family import register, unregister
from tests.conftest import REPOSITORY, extra
from tests.models.toys import trained
from tests.training.short_run import (
    Outcome,
    Start,
    board_points,
    child_environment,
    make_config,
    outcome,
    outcome_differences,
    read_log,
    write_asv_scores,
    write_config,
    write_corpus,
)

STEPS = 18


class Bench:
    """A corpus, compiled programs, and the run that was left alone."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.root, self.cache = root, root / "compiled"
        self.config = make_config(write_corpus(root / "LA"), **changes)
        self.alone_folder = root / "alone" / "run"
        start = self.start(self.alone_folder)
        assert start.end() == 0, start.output
        self.alone: Outcome = outcome(self.alone_folder)

    def start(self, folder: Path, config: dict[str, Any] | None = None, **options: Any) -> Start:
        return Start(config or self.config, folder, self.cache, **options)

    def finish(self, folder: Path) -> None:
        """Let a stopped run end, and compare."""
        start = self.start(folder)
        assert start.end() == 0, start.output
        self.compare(folder)

    def compare(self, folder: Path) -> None:
        """A run that was stopped and has ended is the one that was left alone."""
        ended = outcome(folder)
        assert outcome_differences(self.alone, ended) == []
        steps = range(1, len(self.alone.steps) + 1)
        assert [line["step"] for line in ended.steps] == list(steps)
        points = board_points(folder)
        assert {step for name, step in points if name == "loss"} == set(steps)
        assert all(len(set(values)) == 1 for values in points.values())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def toy_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    register(trained.FAMILY)
    yield Bench(tmp_path_factory.mktemp("toy_bench"), model_config=trained.MODEL_CONFIG)
    unregister(trained.FAMILY.name)


@pytest.fixture(scope="module", params=["toy_bench", pytest.param("bench", marks=pytest.mark.slow)])
def each_bench(request: pytest.FixtureRequest) -> Bench:
    found: Bench = request.getfixturevalue(request.param)
    return found


def newest(folder: Path) -> int:
    return max(int(entry.name) for entry in (folder / "checkpoints").iterdir() if entry.name.isdigit())


def test_run_folder_of_a_finished_run(each_bench: Bench) -> None:
    bench, folder = each_bench, each_bench.alone_folder
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == STEPS
    assert [epoch["epoch"] for epoch in summary["epochs"]] == [1, 2, 3]
    assert summary["chosen"] in ("best", "average")
    assert min(summary["candidates"][name]["dev_eer"] for name in ("best", "average")) == summary["dev"]["eer"]
    assert set(summary["eval"]["attacks"]) == {"A01", "A02", "A03"}
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["identity"] == summary["identity"]
    assert environment["packages"]["jax"]
    config = json.loads((folder / "config.json").read_text())
    assert bench.config["model_config"].items() <= config["model_config"].items()
    assert config == summary["identity"]["config"]
    assert len({tuple(line["utterances"]) for line in bench.alone.steps}) == STEPS
    assert Detector.from_pretrained(folder / "weights").weights.weights_id == summary["weights_id"]


def test_a_finished_run_is_not_run_again(toy_bench: Bench) -> None:
    before = {path: path.stat().st_mtime_ns for path in toy_bench.alone_folder.rglob("*")}
    start = toy_bench.start(toy_bench.alone_folder)
    assert start.end() == 0
    assert "this run is complete" in start.output
    assert {path: path.stat().st_mtime_ns for path in toy_bench.alone_folder.rglob("*")} == before


@pytest.mark.slow
def test_a_damaged_configuration_of_a_finished_run_is_told(bench: Bench, tmp_path: Path) -> None:
    folder = copy_of(bench.alone_folder, tmp_path / "run")
    config = flip_a_bit(folder / "config.json")
    start = bench.start(folder)
    assert start.end() == 0
    assert "config.json: is not as it was written (num_epochs: was 3, is 2)" in start.output
    assert "this run is complete" in start.output
    assert (folder / "config.json").read_bytes() == config


def kill_at_random(bench: Bench, folder: Path, kills: int) -> None:
    moments = random.Random(kills)
    done = 0
    while done < kills:
        start = bench.start(folder)
        start.until("start ")
        # Some lines later, among the steps, saves and evaluations.
        for _ in range(moments.randrange(8)):
            start.until("")
        time.sleep(moments.uniform(0, 0.3))
        code = start.end(signal.SIGKILL)
        assert code in (-signal.SIGKILL, 0), start.output
        done += 1
        if code == 0:  # It was faster than the kill: kill another one.
            assert outcome_differences(bench.alone, outcome(folder)) == []
            shutil.rmtree(folder)
    bench.finish(folder)


def test_killed(toy_bench: Bench, tmp_path: Path) -> None:
    kill_at_random(toy_bench, tmp_path / "run", 3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_25_times(bench: Bench, tmp_path: Path) -> None:
    kill_at_random(bench, tmp_path / "run", 25)


MORE_MOMENTS = [
    ("start ", signal.SIGTERM),
    ("step 1", signal.SIGTERM),
    ("step 2", signal.SIGINT),
    ("step 6", signal.SIGTERM),
    ("step 7", signal.SIGINT),
    ("step 13", signal.SIGTERM),
    ("step 18", signal.SIGTERM),
    ("epoch 3", signal.SIGTERM),
    ("model state 2", signal.SIGTERM),
    ("scoring eval 8", signal.SIGTERM),
]


def stop(bench: Bench, folder: Path, moment: str, number: signal.Signals) -> None:
    """Start a run and stop it by a signal at a line of its output."""
    start = bench.start(folder)
    assert start.until(moment), start.output
    code = start.end(number)
    assert code == STOPPED, start.output
    # Every step that was taken is saved: at most the one under way is lost, and here not even that.
    taken = max([int(line.split()[1]) for line in start.output.splitlines() if line.startswith("step ")], default=0)
    if taken:
        assert newest(folder) >= taken
        assert read_log(folder)[-1]["step"] <= newest(folder)


def train_command(bench: Bench, folder: Path) -> dict[str, Any]:
    """What `subprocess` takes to train by the command that a user gives."""
    config = write_config(bench.config, folder)
    line = ["scripts/train.py", "--config", str(config), "--output", str(folder)]
    if bench.config["model_config"] == trained.MODEL_CONFIG:
        line = ["-c", WITH_THE_TOY, *line]
    environment = child_environment(bench.cache)
    return {"args": [sys.executable, *line], "cwd": REPOSITORY, "env": environment, "text": True}


WITH_THE_TOY = """
import runpy, sys
from aasist_jax.models.family import register
from tests.models.toys import trained
register(trained.FAMILY)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def stopped_at_step_8(each_bench: Bench) -> Path:
    """A run that SIGTERM stopped at step 8 or so; tests work on copies of it, made by `copy_of`."""
    return stop_at_step_8(each_bench)


@pytest.fixture(scope="module")
def aasist_stopped_at_step_8(bench: Bench) -> Path:
    return stop_at_step_8(bench)


def stop_at_step_8(bench: Bench) -> Path:
    folder = bench.root / "stopped" / "run"
    if folder.exists():
        return folder
    log = folder / "log.jsonl"
    with subprocess.Popen(**train_command(bench, folder), stderr=subprocess.PIPE) as process:
        while not (log.exists() and '"step": 8,' in log.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == STOPPED, told
    assert f"stopped on request; the same command goes on from the newest checkpoint in {folder}" in told
    assert read_log(folder)[-1]["step"] <= newest(folder)
    return folder


def copy_of(folder: Path, copy: Path) -> Path:
    # The final weights carry the name of the folder.
    assert copy.name == folder.name
    return Path(shutil.copytree(folder, copy))


def flip_a_bit(config: Path) -> bytes:
    """Make `"num_epochs": 3` a 2, and return what the file was before."""
    before = config.read_bytes()
    config.write_bytes(before.replace(b'"num_epochs": 3', b'"num_epochs": 2'))
    assert config.read_bytes() != before
    return before


def test_other_software_and_a_damaged_configuration_are_told(
    each_bench: Bench, stopped_at_step_8: Path, tmp_path: Path
) -> None:
    folder = copy_of(stopped_at_step_8, tmp_path / "run")
    config = flip_a_bit(folder / "config.json")
    path = folder / "environment.json"
    environment = json.loads(path.read_text())
    environment["packages"]["jax"] = "0.1"
    path.write_text(json.dumps(environment))
    start = each_bench.start(folder)
    assert start.until("the software has changed")
    assert 'packages.jax: was "0.1", is' in start.output.splitlines()[-1]
    assert f"{folder / 'config.json'}: is not as it was written (num_epochs: was 3, is 2); it is written again" in (
        start.output
    )
    assert (folder / "config.json").read_bytes() == config
    assert start.end(signal.SIGTERM) == STOPPED


def test_a_run_that_is_stopped_between_two_steps_goes_on_by_the_same_command(
    each_bench: Bench, stopped_at_step_8: Path, tmp_path: Path
) -> None:
    """And says nothing, where it is told to be quiet."""
    folder = copy_of(stopped_at_step_8, tmp_path / "run")
    command = train_command(each_bench, folder)
    command["args"] += ["--quiet", "--device", "cpu"]
    done = subprocess.run(**command, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    each_bench.compare(folder)


def test_stopped_by_sigint_in_an_evaluation(toy_bench: Bench, tmp_path: Path) -> None:
    stop(toy_bench, tmp_path / "run", "scoring dev 8", signal.SIGINT)
    toy_bench.finish(tmp_path / "run")


AUGMENTATION = [
    {"kind": "rawboost", "probability": 0.5},
    {"one_of": [{"kind": "noise", "source": "babble"}, {"kind": "speed"}, {"kind": "splicing"}]},
]


def test_a_killed_run_with_augmentation_ends_in_the_same_bits(toy_bench: Bench, tmp_path_factory: Any) -> None:
    """And another chain is refused."""
    root = tmp_path_factory.mktemp("augmented")
    bench = Bench(root, model_config=trained.MODEL_CONFIG, augmentation=AUGMENTATION)
    assert outcome_differences(bench.alone, toy_bench.alone)
    folder = root / "killed" / "run"
    start = bench.start(folder)
    assert start.until("step 7"), start.output
    assert start.end(signal.SIGKILL) == -signal.SIGKILL
    other = [AUGMENTATION[0] | {"algorithm": 3}, AUGMENTATION[1]]
    refused = bench.start(folder, make_config(root / "LA", model_config=trained.MODEL_CONFIG, augmentation=other))
    assert refused.end() == 1
    assert "config.data_config.augmentation: was [{" in refused.output
    bench.finish(folder)


CHOICES = {
    "pairs": True,
    "balance": ["system"],
    "held_out_systems": ["A03"],
    "ema": 0.9,
    "patience": 2,
    "rates": [["hidden/*", 0.5]],
}
"""Whatever is meant to make training generalise."""


def test_a_killed_run_with_every_choice_of_training_ends_in_the_same_bits(toy_bench: Bench, tmp_path: Path) -> None:
    """And is not resumed where other clips are copies of each other."""
    options = CHOICES | {"augmentation": AUGMENTATION, "teacher": str(toy_bench.alone_folder / "weights")}
    bench = Bench(tmp_path, model_config=trained.MODEL_CONFIG, **options)
    assert len(bench.alone.steps) == 3 * (36 // 8)  # a quarter of the clips is held out
    assert bench.alone.summary["held_out_systems"] == ["A03"]
    assert set(bench.alone.summary["dev"]["attacks"]) == {"A03"}
    assert bench.alone.summary["candidates"].keys() == {"best", "average", "ema"}
    assert bench.alone.summary["identity"].keys() >= {"pairs", "teacher"}
    for line in bench.alone.steps:
        numbers = [int(name.removeprefix("LA_T_")) for name in line["utterances"]]
        for original, copy in zip(numbers[::2], numbers[1::2], strict=True):
            assert original % 4 == 0 < copy - original < 3
    folder = tmp_path / "killed" / "run"
    start = bench.start(folder)
    assert start.until("step 8"), start.output
    assert start.end(signal.SIGKILL) == -signal.SIGKILL
    table = tmp_path / "LA" / "metadata.csv"
    before = table.read_text()
    table.write_text(before.replace("LA_T_0000001,LA_T_0000000", "LA_T_0000001,LA_T_0000004"))
    refused = bench.start(folder)
    assert refused.end() == 1
    assert "pairs: was " in refused.output
    table.write_text(before)
    bench.finish(folder)


def test_a_run_that_ends_early_and_is_killed_after_that(toy_bench: Bench, tmp_path: Path) -> None:
    """Nothing is learnt at this rate, so the second epoch is no better than the first."""
    changes = {"base_lr": 1e-20, "patience": 1, "ema": 0.5}
    config = make_config(toy_bench.root / "LA", model_config=trained.MODEL_CONFIG, **changes)
    config["optim_config"]["lr_min"] = 0
    folders = [tmp_path / name / "run" for name in ("alone", "killed")]
    for folder in folders:
        start = toy_bench.start(folder, config)
        if folder is folders[1]:
            assert start.until("model state 3"), start.output
            assert start.end(signal.SIGKILL) == -signal.SIGKILL
            start = toy_bench.start(folder, config)
        assert start.end() == 0, start.output
        assert "no lower EER on dev for 1 epochs: training ends after 2 of 3 epochs" in start.output
    alone, killed = map(outcome, folders)
    assert outcome_differences(alone, killed) == []
    assert (alone.summary["steps"], len(alone.summary["epochs"])) == (12, 2)
    assert alone.summary["candidates"].keys() == {"best", "ema"}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_with_every_kind_of_augmentation_ends_in_the_same_bits(tmp_path: Path, workers: int) -> None:
    extra("pyroomacoustics", "augmentation")
    extra("G722", "augmentation")
    chain = [{"kind": name, "probability": 0.3} for name in kind_names() if name not in ("noise", "reverberation")]
    chain += [{"one_of": [{"kind": "noise", "source": source} for source in ("white", "pink", "babble")]}]
    chain += [{"kind": "reverberation", "rooms": 4, "probability": 0.5}]
    chain += [{"kind": "codec", "codecs": ["aac"], "probability": 0.2}]
    bench = Bench(tmp_path / "bench", model_config=trained.MODEL_CONFIG, augmentation=chain, workers=workers)
    # Workers take long to start.
    for moment in ("step 7",) if workers else ("step 2", "step 7", "epoch 2"):
        folder = tmp_path / moment.replace(" ", "") / "run"
        start = bench.start(folder)
        assert start.until(moment), start.output
        assert start.end(signal.SIGKILL) == -signal.SIGKILL
        bench.finish(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "number"), [("scoring dev 8", signal.SIGINT), *MORE_MOMENTS])
def test_stopped_anywhere(bench: Bench, tmp_path: Path, moment: str, number: signal.Signals) -> None:
    stop(bench, tmp_path / "run", moment, number)
    bench.finish(tmp_path / "run")


@pytest.mark.slow
def test_stopped_twice_in_one_evaluation(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for _ in range(2):
        start = bench.start(folder)
        assert start.until("scoring dev 8")
        assert start.end(signal.SIGTERM) == STOPPED, start.output
        assert newest(folder) == 6
    bench.finish(folder)


def contents(folder: Path) -> dict[Path, bytes]:
    """Read all files but the notes of which clips have been decoded once, true of the data and of no run."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.startswith("checked_")}


@pytest.mark.slow
def test_changes_are_refused_and_damage_is_passed_over(
    bench: Bench, aasist_stopped_at_step_8: Path, tmp_path: Path
) -> None:
    folder = copy_of(aasist_stopped_at_step_8, tmp_path / "run")
    before = contents(folder)

    def refused(message: str, config: dict[str, Any], **options: Any) -> None:
        start = bench.start(folder, config, **options)
        assert start.end() == 1
        assert message in start.output
        assert "Traceback" not in start.output
        assert contents(folder) == before

    corpus = Path(bench.config["database_path"])
    refused("config.num_epochs: was 3, is 4", make_config(corpus, num_epochs=4))
    refused("config.data_config.workers: was 0, is 2", make_config(corpus, workers=2))
    refused("devices: was 1, is 2", bench.config, devices=2)
    model = bench.config["model_config"] | {"gat_dims": [5, 8]}
    refused("config.model_config.gat_dims: was [5, 7], is [5, 8]", make_config(corpus, model_config=model))
    clip = next((corpus / "ASVspoof2019_LA_dev" / "flac").iterdir())
    whole = clip.read_bytes()
    try:
        clip.write_bytes(whole + b"\0")
        refused("data.dev: was ", bench.config)
    finally:
        clip.write_bytes(whole)

    step = newest(folder)
    largest = max((folder / "checkpoints" / str(step)).rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    start = bench.start(folder)
    assert start.end() == 0
    assert f"checkpoint of step {step} not used" in start.output
    assert outcome_differences(bench.alone, outcome(folder)) == []


@pytest.mark.slow
def test_loss_that_is_not_finite(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = make_config(Path(bench.config["database_path"]), base_lr=1e30, checkpoint_steps=1)
    start = bench.start(folder, config)
    assert start.end() == 1
    assert "Traceback" not in start.output
    (report,) = folder.glob("bad_batch_*.json")
    bad = json.loads(report.read_text())
    assert len(bad["files"]) == 8
    assert all(Path(file).name in start.output for file in bad["files"])
    kept = [int(entry.name) for entry in (folder / "checkpoints").iterdir() if entry.name.isdigit()]
    assert all(step < bad["step"] for step in kept)


@pytest.mark.slow
def test_full_disk(bench: Bench, aasist_stopped_at_step_8: Path, tmp_path: Path) -> None:
    folder = copy_of(aasist_stopped_at_step_8, tmp_path / "run")
    step = newest(folder)

    start = bench.start(folder)
    # A file that would grow beyond this fails as on a full disk; Python ignores the signal that comes with it.
    resource.prlimit(start.process.pid, resource.RLIMIT_FSIZE, (6000, 6000))
    assert start.end() == 1
    errors = [line for line in start.output.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, start.output
    assert newest(folder) == step
    bench.finish(folder)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "number"), [("start ", signal.SIGINT), ("step 7", signal.SIGTERM), ("step 7", signal.SIGKILL)]
)
def test_data_order_with_workers(bench: Bench, tmp_path: Path, moment: str, number: signal.Signals) -> None:
    folder = tmp_path / "run"
    config = make_config(Path(bench.config["database_path"]), workers=2)
    start = bench.start(folder, config, start_new_session=True)
    assert start.until(moment)
    main = start.process.pid
    lists = Path(f"/proc/{main}/task").glob("*/children")
    children = [int(child) for children in lists for child in children.read_text().split()]
    if number == signal.SIGKILL:
        assert len(children) >= 2
        assert start.end(number) == -signal.SIGKILL
    else:
        # As a terminal's Ctrl-C: to every process of the group.
        os.killpg(main, number)
        assert start.end() == STOPPED, start.output
    deadline = time.monotonic() + 30
    while any(map(is_running, children)):
        assert time.monotonic() < deadline, "workers outlive the run"
        time.sleep(0.1)
    start = bench.start(folder, config)
    assert start.end() == 0, start.output
    assert outcome(folder).steps == bench.alone.steps


@pytest.mark.slow
def test_published_selection(bench: Bench, tmp_path: Path) -> None:
    asv = write_asv_scores(tmp_path / "asv.txt")
    corpus = Path(bench.config["database_path"])
    config = make_config(corpus, selection="published", asv_score_path=str(asv))
    folder = tmp_path / "run"
    start = bench.start(folder, config)
    assert start.end() == 0, start.output
    summary = json.loads((folder / "summary.json").read_text())
    best, averaged = 0.01, 0
    for epoch in summary["epochs"]:
        snapshot = epoch["dev_eer"] <= best
        assert ("eval_min_tdcf_2019" in epoch) == snapshot
        best, averaged = (epoch["dev_eer"], averaged + 1) if snapshot else (best, averaged)
    assert summary["candidates"]["averaged"] == averaged
    assert summary["chosen"] == ("average" if averaged else "last epoch (no dev EER reached 1 %)")
