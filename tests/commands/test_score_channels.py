"""`aasist-jax score` of a stereo call: of the mean of both sides, of one, and of each."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from aasist_jax.detection.detector import Detector
from tests.commands.toy_recordings import make_scratch, rows

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scratch(tmp_path_factory.mktemp("sides"))


def test_one_side_of_a_stereo_call(command: Any, scratch: Path, tmp_path: Path) -> None:
    """A stereo file with a human left and a machine right: said, and each channel offered."""
    options = ("--weights", scratch / "weights", "--format", "jsonl")
    detector = Detector.from_pretrained(scratch / "weights")
    scores = []
    for side in (0, 1):
        code, out, _ = command("score", scratch / "stereo.wav", *options, "--channel", side)
        assert code == 0
        row = json.loads(out)
        assert (row["file"], row["channel"]) == (str(scratch / "stereo.wav"), side)
        scores.append(row["score"])
        assert scores[side] == pytest.approx(detector.score(scratch / "stereo.wav", channel=side).score, abs=1e-6)
    assert scores[0] != scores[1]
    # Without the option the mean of both is scored, and it is said that the sides are not alike.
    for verb in ("score", "timeline"):
        _, told, _ = command(verb, scratch / "stereo.wav", "--weights", scratch / "weights")
        assert "channels differ (human and synthetic)" in " ".join(told.split())
    code, _, errors = command("score", scratch / "stereo.wav", *options, "--channel", 2)
    assert code == 1
    assert "no channel 2; there are 2" in errors

    lines = command("score", scratch / "stereo.wav", *options[:2], "--channel", 1, "--format", "csv")[1].splitlines()
    assert [row["channel"] for row in csv.DictReader(lines)] == ["1"]
    shown = command("score", scratch / "stereo.wav", *options[:2], "--channel", 1)[1]
    assert f"{scratch / 'stereo.wav'}, channel 1: synthetic" in " ".join(shown.split())

    out = ("--output", tmp_path / "scores.jsonl")
    assert command("score", scratch / "stereo.wav", *options, "--channel", 0, *out)[0] == 0
    written = out[1].read_text()
    assert command("score", scratch / "stereo.wav", *options, "--channel", 0, *out, "--resume")[0] == 0
    assert out[1].read_text() == written
    code, _, errors = command("score", scratch / "stereo.wav", *options, "--channel", 1, *out, "--resume")
    assert code == 1
    assert "of another channel" in errors


def test_each_side_of_a_call_is_a_row(command: Any, scratch: Path) -> None:
    """With `--channel each` a stereo call has a row for each side with its label; one channel stays one row."""
    call, mono, text = scratch / "stereo.wav", scratch / "human.wav", scratch / "text.wav"
    code, found, err = rows(command, scratch, call, mono, text, "--channel", "each")
    assert (code, err.count("\n")) == (3, 1)
    assert [(row["file"], row["channel"], row["label"]) for row in found] == [
        (str(call), 0, "human"),
        (str(call), 1, "synthetic"),
        (str(mono), None, "human"),
        (str(text), None, None),
    ]
    detector = Detector.from_pretrained(scratch / "weights")
    for side in (0, 1):
        expected = detector.score(call, channel=side)
        assert found[side]["llr"] == pytest.approx(expected.llr, rel=1e-5)
        assert found[side]["reasons"] is None
    options = ("--weights", scratch / "weights", "--channel", "each", "--format")
    assert json.loads(command("score", call, mono, text, *options, "json")[1]) == found
    table = list(csv.DictReader(io.StringIO(command("score", call, mono, *options, "csv")[1])))
    assert [(row["channel"], row["label"]) for row in table] == [("0", "human"), ("1", "synthetic"), ("", "human")]
    lines = [" ".join(line.split()) for line in command("score", call, mono, *options, "table")[1].splitlines()]
    for side, label in enumerate(("human", "synthetic")):
        assert any(line.startswith(f"{call}, channel {side} {label} ") for line in lines)
    assert any(line.startswith(f"{mono} human ") for line in lines)
    # One side that is synthetic is enough to fail.
    assert rows(command, scratch, call, "--channel", "each", "--fail-on-synthetic")[0] == 4
    assert rows(command, scratch, call, "--fail-on-synthetic")[0] == 0


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_the_sides_of_a_call_are_taken_up_by_resume(command: Any, scratch: Path, tmp_path: Path, format: str) -> None:
    """A file cut after the first side gets the second one, to the bit, and neither is scored again."""
    out = tmp_path / f"scores.{format}"
    arguments = (scratch / "stereo.wav", scratch / "human.wav", "--weights", scratch / "weights", "--output", out)
    assert command("score", *arguments, "--channel", "each")[0] == 0
    whole = out.read_text()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 3 + (format == "csv")
    for left in (1, 2, 3):
        out.write_text("".join(lines[: left + (format == "csv")]))
        code, _, err = command("score", *arguments, "--channel", "each", "--resume")
        assert (code, err) == (0, f"{out}: 3 recordings: 2 human, 1 synthetic\n")
        assert out.read_text() == whole
    for other in (("--channel", 0), ()):
        code, _, err = command("score", *arguments, *other, "--resume")
        assert (code, err) == (1, f"error: {out}: its scores are of another channel; give another --output\n")
    assert out.read_text() == whole
