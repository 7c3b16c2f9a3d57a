"""The sweep of heads whose figures the documentation shows: its clips can be chosen, and its runs be planned."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from aasist_jax.training.sweep_plan import plan_sweep
from tests.conftest import REPOSITORY

HEADS = REPOSITORY / "examples" / "heads"
COLUMNS = ("utterance", "split", "label", "attack", "speaker", "origin")


def test_its_runs_can_be_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    runs = plan_sweep(HEADS / "sweep.json", tmp_path)
    assert len(runs) == 16
    assert {run.config.model_config.resynthesis.__struct_config__.tag for run in runs} == {"griffin_lim"}


def test_its_clips_are_copies_with_their_originals(tmp_path: Path) -> None:
    rows = [(f"h{split}{i}", split, "bonafide", "-", f"s{i}", "") for split in ("train", "dev") for i in range(400)]
    rows += [
        (f"{system}{split}{i}", split, "spoof", system, f"s{i}", f"h{split}{i}")
        for split in ("train", "dev")
        for system in ("world", "hibari")
        for i in range(350)
    ]
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    made = subprocess.run([sys.executable, HEADS / "clips.py", tmp_path], check=True, capture_output=True, text=True)
    found = list(csv.DictReader(made.stdout.splitlines()))
    train = [row for row in found if row["split"] == "train"]
    copies = [row for row in train if row["label"] == "spoof"]
    assert {row["attack"] for row in copies} == {"world"}
    assert len(copies) == 300
    assert {row["copy_of"] for row in copies} == {row["utterance"] for row in train if row["label"] == "bonafide"}
    dev = [row for row in found if row["split"] == "dev"]
    assert sorted({(row["attack"], sum(other["attack"] == row["attack"] for other in dev)) for row in dev}) == [
        ("-", 350),
        ("hibari", 80),
        ("world", 80),
    ]
