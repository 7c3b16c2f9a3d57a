"""`aasist-jax timeline`, as a process and at its edges."""

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from aasist_jax.detection.detector import Detector
from tests.commands.over_time import assert_scores, run_process, write_talk
from tests.commands.toy_recordings import make_scratch
from tests.models.aasist.tiny import CONFIG

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talk(tmp_path_factory.mktemp("timeline"))


def test_segments_and_plot_of_a_file(scratch: Path, tmp_path: Path) -> None:
    files = tmp_path / "call.json", tmp_path / "call.png"
    done = run_process(
        *("timeline", scratch / "call.wav", "--weights", scratch / "human", "--hop", 0.25),
        *("--segments", files[0], "--plot", files[1]),
    )
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(files[0].read_text())
    timeline = Detector.from_pretrained(scratch / "human").timeline(scratch / "call.wav", hop=0.25)
    assert document["hop"] == timeline.hop == 2 * 2187 / 16_000
    assert document["label"] == timeline.verdict.label == "human"
    assert document["rule"] == {"prior": 0.5, "sure": 0.9}
    assert document["p_synthetic"] == pytest.approx(timeline.verdict.p_synthetic, rel=1e-4)
    assert "call.wav: human. P(synthetic) 0.0" in " ".join(done.stdout.decode().split())
    assert len(document["windows"]) == len(timeline.windows)
    assert_scores(document["windows"], timeline)
    assert document["windows"][-1] == {**document["windows"][-1], "status": "silent", "score": None, "llr": None}
    assert [segment["label"] for segment in document["segments"]] == ["human", "unheard"]
    picture = imread(files[1])
    assert picture.shape[0] > 500
    # Something of every part is drawn: no row of the middle column band is blank over its whole width.
    assert np.ptp(picture[:, 100:-20, :3], axis=(1, 2)).max() > 0.5


@pytest.mark.parametrize("weights", ["human", "synthetic", "uncalibrated"])
def test_score_and_timeline_say_the_same(command: Any, scratch: Path, weights: str) -> None:
    """The same file through `score` and `timeline`: one rule, one wording, no contradiction, at every hop."""
    options = (scratch / "call.wav", "--weights", scratch / weights)
    score = json.loads(command("score", *options, "--format", "jsonl")[1])
    for hop in ((), ("--hop", 0.14), ("--hop", 0.2, "--exact")):
        document = json.loads(command("timeline", *options, *hop, "--format", "json")[1])
        same = ("label", "reasons", "seconds", "heard_seconds", "speech_seconds", "status", "weights_id", "model_id")
        assert {name: document[name] for name in same} == {name: score[name] for name in same}
        for name in ("score", "llr", "p_synthetic"):
            assert document[name] == (score[name] and pytest.approx(score[name], rel=1e-5))
        labels = {segment["label"] for segment in document["segments"]}
        assert ("synthetic" in labels) == (score["label"] == "synthetic")


def test_without_a_calibration_a_line_says_what_mends_it(command: Any, scratch: Path) -> None:
    code, out, err = command("timeline", scratch / "call.wav", "--weights", scratch / "uncalibrated")
    assert code == 0
    assert err.startswith(f"warning: {scratch / 'uncalibrated'}: not calibrated, so every verdict is unsure; ")
    assert f"`aasist-jax calibrate {scratch / 'uncalibrated'} --data clips.csv`" in err
    assert err.count("\n") == 1
    assert "call.wav: unsure. No probability is given: uncalibrated. Heard" in out.replace("\n", "")


def test_each_side_of_a_call_has_a_timeline(command: Any, toy_family: None, tmp_path: Path) -> None:
    """With `--channel each`: two timelines with their labels, on the terminal, as JSON and CSV, and as pictures."""
    scratch = make_scratch(tmp_path)
    call = scratch / "stereo.wav"
    detector = Detector.from_pretrained(scratch / "weights")
    options = (call, "--weights", scratch / "weights", "--channel", "each")
    code, out, err = command(
        "timeline", *options, "--segments", tmp_path / "call.json", "--plot", tmp_path / "call.png"
    )
    assert (code, err) == (0, "")
    documents = json.loads((tmp_path / "call.json").read_text())
    assert [document["label"] for document in documents] == ["human", "synthetic"]
    told = " ".join(out.split())
    for side, document in enumerate(documents):
        timeline = detector.timeline(call, channel=side)
        assert document["file"] == f"{call}, channel {side}"
        assert [each["label"] for each in document["segments"]] == [each.label for each in timeline.segments]
        assert_scores(document["windows"], timeline)
        assert f"stereo.wav, channel {side}: {document['label']}. P(synthetic)" in told
    pictures = [imread(tmp_path / f"call-channel-{side}.png") for side in (0, 1)]
    assert not (tmp_path / "call.png").exists()
    assert np.abs(pictures[0] - pictures[1]).max() > 0.5
    sides = [f"{call}, channel {side}" for side in (0, 1)]
    code, out, _ = command("timeline", *options, "--format", "csv", "--fail-on-synthetic")
    assert (code, list(dict.fromkeys(row["file"] for row in csv.DictReader(io.StringIO(out))))) == (4, sides)
    code, out, _ = command("timeline", *options, "--format", "jsonl")
    assert (code, [json.loads(line)["file"] for line in out.splitlines()]) == (0, sides)
    # A recording of one channel has one timeline, under its own name.
    code, out, _ = command("timeline", scratch / "human.wav", *options[1:], "--format", "json")
    assert (code, json.loads(out)["file"]) == (0, str(scratch / "human.wav"))


def test_csv_and_the_exact_mode(command: Any, scratch: Path, tmp_path: Path) -> None:
    path = tmp_path / "call.csv"
    options = ("--weights", scratch / "synthetic", "--segments", path, "--exact", "--format", "jsonl")
    code, out, err = command("timeline", scratch / "call.wav", *options)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["exact"] is True
    assert document["hop"] == CONFIG.nb_samp / 16_000
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["end"]) for row in rows] == [segment["end"] for segment in document["segments"]]
    assert [row["label"] for row in rows] == ["synthetic", "unheard"]
    assert rows[-1]["p_synthetic"] == rows[-1]["score"] == ""


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["a.wav", "--segments", "b.txt"], 1, "error: b.txt: written as .json or .csv"),
        (["a.wav", "--plot", "b.pdf"], 1, "error: b.pdf: written as .png"),
        (["CALL", "--segments", "b.json", "--hop", "9"], 1, "error: hop: expected more than 0 and at most"),
        (["a.wav", "--segments", "b.json", "--sure", "nan"], 2, "--sure: expected a probability above 0.5"),
        (["a.wav", "--segments", "b.json", "--prior", "1"], 2, "--prior: the probability of synthetic speech must lie"),
        (["a.wav", "--segments", "b.json"], 1, "error: a.wav: no such file"),
        (["a.wav", "c.wav", "--segments", "b.json"], 2, "unexpected extra argument(s) (c.wav)"),
        (["tests/commands/*.py", "--segments", "b.json"], 2, "give one recording at a time"),
        (["a.wav", "--segments", "b.json", "--output", "c.csv"], 2, "No such option: --output"),
        (["a.wav", "--plot", "b.png", "--windows", "all"], 2, "No such option: --windows"),
        (["-", "--channel", "each"], 2, "--channel each: standard input can be read once only; write it to a file"),
        (["a.wav", "--threshold", "-5"], 2, "No such option: --threshold"),
        (["a.wav", "--segments", "nowhere/b.json"], 1, "error: nowhere/b.json: there is no folder nowhere"),
    ],
)
def test_wrong_use_is_one_line(command: Any, scratch: Path, arguments: list[str], code: int, complaint: str) -> None:
    arguments = [{"CALL": str(scratch / "call.wav")}.get(each, each) for each in arguments]
    found, _, err = command("timeline", *arguments, "--weights", scratch / "human")
    assert found == code
    assert complaint in " ".join(err.split())
    assert not Path("b.json").exists()


def test_a_synthetic_verdict_fails_where_asked(command: Any, scratch: Path, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    shutil.copyfile(scratch / "call.wav", name)
    codes = {}
    for weights in ("human", "synthetic", "uncalibrated"):
        options = ("--weights", scratch / weights, "--segments", tmp_path / "call.JSON", "--fail-on-synthetic")
        code, _, _ = command("timeline", name, *options)
        codes[json.loads((tmp_path / "call.JSON").read_text())["label"]] = code
    assert codes == {"synthetic": 4, "human": 0, "unsure": 0}
