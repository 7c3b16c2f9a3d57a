"""`aasist-jax timeline`, as a process and at its edges."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from aasist_jax.detection.detector import Detector
from aasist_jax.detection.timeline import Rule
from tests.commands.over_time import assert_scores, run_process
from tests.conftest import REPOSITORY
from tests.detection.call import write_call
from tests.models.aasist.tiny import CONFIG


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_call(tmp_path_factory.mktemp("timeline"))


def test_segments_and_plot_of_a_file(scratch: Path, tmp_path: Path) -> None:
    files = tmp_path / "call.json", tmp_path / "call.png"
    done = run_process(
        *("timeline", scratch / "call.wav", "--weights", scratch / "weights", "--vad", "--threshold", -5),
        *("--segments", files[0], "--plot", files[1], "--hop", 0.25, "--hysteresis", 2, "--min-spoof", 1),
    )
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(files[0].read_text())
    timeline = Detector.from_pretrained(scratch / "weights").timeline(
        scratch / "call.wav", hop=0.25, vad=True, rule=Rule(-7.0, -3.0, 1.0)
    )
    assert document["hop"] == timeline.hop == 2 * 2187 / 16_000
    assert document["verdict"]["label"] == timeline.verdict.label
    assert f"call.wav: {timeline.verdict.label};".encode() in done.stdout.replace(b"\n", b"")
    assert len(document["windows"]) == len(timeline.windows) == 23
    assert_scores(document["windows"], timeline)
    assert document["windows"][-1] == {**document["windows"][-1], "status": "silent", "score": None}
    picture = imread(files[1])
    assert picture.shape[0] > 500
    # Something of every part is drawn: no row of the middle column band is blank over its whole width.
    assert np.ptp(picture[:, 100:-20, :3], axis=(1, 2)).max() > 0.5


def test_csv_and_the_exact_mode(scratch: Path, tmp_path: Path) -> None:
    path = tmp_path / "call.csv"
    options = ("--weights", scratch / "weights", "--segments", path, "--exact", "--format", "jsonl")
    done = run_process("timeline", scratch / "call.wav", *options)
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    assert document["exact"] is True
    assert document["hop"] == CONFIG.nb_samp / 2 / 16_000
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["end"]) for row in rows] == [segment["end"] for segment in document["segments"]]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["a.wav", "--segments", "b.txt"], 1, "error: b.txt: written as .json or .csv"),
        (["a.wav", "--plot", "b.pdf"], 1, "error: b.pdf: written as .png"),
        (["a.wav", "--segments", "b.json", "--hop", "9"], 1, "error: hop: expected more than 0 and at most"),
        (["a.wav", "--segments", "b.json", "--threshold", "nan"], 1, "error: thresholds: expected"),
        (["a.wav", "--segments", "b.json"], 1, "error: a.wav: no such file"),
        (["a.wav", "c.wav", "--segments", "b.json"], 2, "unexpected extra argument(s) (c.wav)"),
        (["tests/commands/*.py", "--segments", "b.json"], 2, "give one recording at a time"),
        (["a.wav", "--segments", "b.json", "--out", "c.csv"], 2, "No such option: --out"),
        (["a.wav", "--plot", "b.png", "--windows", "all"], 2, "No such option: --windows"),
        (["a.wav", "--segments", "nowhere/b.json"], 1, "error: nowhere/b.json: there is no folder nowhere"),
    ],
)
def test_wrong_use_is_one_line(command: Any, scratch: Path, arguments: list[str], code: int, complaint: str) -> None:
    found, _, err = command("timeline", *arguments, "--weights", scratch / "weights")
    assert found == code
    assert complaint in err
    assert not Path("b.json").exists()


def test_a_spoof_over_time_fails_where_asked(scratch: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.wav"
    shutil.copyfile(scratch / "call.wav", name)
    options = ["--weights", str(scratch / "weights"), "--segments", str(tmp_path / "call.JSON")]
    line = [
        sys.executable,
        "-m",
        "aasist_jax.commands.app",
        "timeline",
        name,
        *options,
        "--fail-on-spoof",
        "--threshold",
    ]
    codes = {}
    for threshold in ("1e9", "-1e9"):
        done = subprocess.run([*line, threshold], cwd=REPOSITORY, capture_output=True, timeout=300)
        assert b"Traceback" not in done.stderr
        label = json.loads((tmp_path / "call.JSON").read_text())["verdict"]["label"]
        codes[label] = done.returncode
    assert codes == {"spoof": 4, "bonafide": 0}
