"""`aasist-jax calibrate` of a detector; that of score files is tested with the other commands on them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.calibration.detector_calibration import read_detector_calibration
from aasist_jax.data import layouts
from aasist_jax.data.utterances import Utterance
from aasist_jax.detection.detector import CALIBRATION_FILE, Detector
from tests.commands.labelled_clips import EACH, SYSTEMS, VOICES, read_table, write_clips, write_table
from tests.conftest import Command
from tests.models import toy

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return toy.save_toy(tmp_path / "weights")


def test_then_scores_have_labels_that_follow_the_evidence(
    command: Command, weights: Path, clips: Path, tmp_path: Path
) -> None:
    """`calibrate`, then `score`: the label follows the LLR."""
    human, synthetic = clips.parent / "human00.wav", clips.parent / "synthetic00.wav"
    before = command("score", human, synthetic, "--weights", weights, "--format", "json")
    assert [row["label"] for row in json.loads(before[1])] == ["unsure", "unsure"]
    assert "not calibrated" in before[2]

    plot = tmp_path / "reliability.png"
    code, out, err = command("calibrate", weights, "--data", clips, "--plot", plot)
    assert (code, err) == (
        0,
        f"{weights / CALIBRATION_FILE}: written; `score`, `timeline` and `listen` use it\n",
    )
    count = len(VOICES) * EACH
    assert out.splitlines()[0] == (
        f"Fitted on clips.csv: {count} human recordings of {len(VOICES)} voices, {count} synthetic ones of "
        f"{len(SYSTEMS)} systems."
    )
    assert "On voices left out in turn: Cllr 0." in out
    for name in (*VOICES, *SYSTEMS):
        assert sum(line.split()[:1] == [name] for line in out.splitlines()) == 1
    assert plot.read_bytes().startswith(b"\x89PNG")

    code, out, err = command("score", human, synthetic, "--weights", weights, "--format", "json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [row["label"] for row in rows] == ["human", "synthetic"]
    for row in rows:
        assert row["p_synthetic"] == pytest.approx(1 / (1 + np.exp(row["llr"])))
        assert (
            row["model_id"]
            == f"{row['weights_id']}+{read_detector_calibration(weights / CALIBRATION_FILE).calibration_id}"
        )


def test_the_file_says_what_it_was_fitted_on_and_the_command_makes_it_again(
    command: Command, weights: Path, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "other.json"
    code, _, err = command("calibrate", weights, "--data", clips, "--split", "dev", "--output", out, "--sure", 0.8)
    assert (code, err) == (0, f"{out}: written; `score`, `timeline` and `listen` use it in a weights folder\n")
    assert not (weights / CALIBRATION_FILE).exists()
    calibration = read_detector_calibration(out)
    fitted = calibration.fitted_on
    assert (fitted.data, fitted.human, fitted.synthetic) == ("clips.csv, split dev", 24, 24)
    assert (fitted.voices, fitted.systems) == (len(VOICES), tuple(sorted(SYSTEMS)))
    assert fitted.command == f"aasist-jax calibrate {weights} --data {clips} --split dev --sure 0.8"
    assert calibration.measured.sure == 0.8
    assert command(*fitted.command.split()[1:])[0] == 0
    assert (weights / CALIBRATION_FILE).read_bytes() == out.read_bytes()


def test_it_holds_for_its_own_weights_only(command: Command, weights: Path, clips: Path, tmp_path: Path) -> None:
    assert command("calibrate", weights, "--data", clips)[0] == 0
    other = toy.save_toy(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["model_config"]["nb_samp"] = 8000
    config["window"] = 8000
    (other / "config.json").write_text(json.dumps(config))
    shutil.copy(weights / CALIBRATION_FILE, other)
    code, out, err = command("score", clips.parent / "human00.wav", "--weights", other, "--format", "json")
    assert code == 0
    assert json.loads(out)[0]["reasons"] == "uncalibrated"
    assert f"{other / CALIBRATION_FILE} is left aside, and no verdict is sure: it was fitted on the weights" in err
    assert "calibrate again with `aasist-jax calibrate`" in err


def test_recordings_that_cannot_be_used_are_left_out_and_told(
    command: Command, weights: Path, clips: Path, tmp_path: Path
) -> None:
    rows = read_table(clips)
    for row in rows:
        row["path"] = str(clips.parent / row["path"])
    (tmp_path / "text.wav").write_text("no audio")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    rows += [rows[0] | {"path": name} for name in ("text.wav", "silent.wav")]
    code, out, err = command("calibrate", weights, "--data", write_table(tmp_path / "more.csv", rows))
    assert code == 0
    assert "24 human recordings of 4 voices" in out
    lines = err.splitlines()
    assert any("left out" in line and "text.wav" in line for line in lines)
    assert any("left out" in line and "silent.wav: no speech" in line for line in lines)
    assert "warning: 2 of 50 recordings are left out" in lines


def test_without_speakers_it_is_warned_that_errors_seem_smaller(command: Command, weights: Path, clips: Path) -> None:
    rows = [{"path": row["path"], "label": row["label"]} for row in read_table(clips)]
    table = write_table(clips.parent / "nameless.csv", rows)
    code, out, err = command("calibrate", weights, "--data", table)
    assert code == 0
    assert "24 human recordings of 24 voices" in out
    assert f"warning: {table}: names no speakers, so each recording counts as a voice: errors will seem smaller" in err


def few(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return rows[:30]


def humans(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row for row in rows if row["label"] == "human"]


def two_voices(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row | {"speaker": VOICES[number // 2 % 2]} for number, row in enumerate(rows)]


def numbers(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row | {"label": str(int(row["label"] == "human"))} for row in rows]


def swapped(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    other = {"human": "synthetic", "synthetic": "human"}
    return [row | {"label": other[row["label"]], "attack": ""} for row in rows]


def without_labels(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"path": row["path"], "speaker": row["speaker"]} for row in rows]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (few, "15 human recordings with speech; a calibration needs at least 20 of each class"),
        (humans, "0 synthetic recordings with speech; a calibration needs at least 20 of each class"),
        (two_voices, "2 human voices; a calibration is measured on voices that are left out, and needs 3"),
        (numbers, "say it with --bonafide-is 1"),
        (swapped, "the scores of human recordings are not the higher ones"),
        (without_labels, "no column label"),
    ],
)
def test_what_cannot_be_calibrated_on_is_a_line(
    command: Command, weights: Path, clips: Path, change: Callable[..., list[dict[str, str]]], complaint: str
) -> None:
    table = write_table(clips.parent / f"{change.__name__}.csv", change(read_table(clips)))
    code, out, err = command("calibrate", weights, "--data", table)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert complaint in err
    assert err.count("\n") == 1
    assert not (weights / CALIBRATION_FILE).exists()


def test_numbers_are_understood_where_said(command: Command, weights: Path, clips: Path) -> None:
    table = write_table(clips.parent / "numbers_said.csv", numbers(read_table(clips)))
    assert command("calibrate", weights, "--data", table, "--bonafide-is", 1)[0] == 0
    assert Detector.from_pretrained(weights).score(clips.parent / "human00.wav").label == "human"


def test_a_folder_may_have_the_layout_of_a_stranger(
    command: Command, weights: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = layouts.all_layouts()

    def read(folder: Path, split: str, track: str) -> list[Utterance]:
        return known["csv"].read(folder / clips.name, split, track)

    stranger = layouts.Layout("stranger", "", read, lambda folder, track: ["dev"] if folder == clips.parent else [])
    monkeypatch.setattr(layouts, "all_layouts", lambda: known | {"stranger": stranger})
    code, out, _ = command("calibrate", weights, "--data", clips.parent)
    assert code == 0
    assert out.startswith(f"Fitted on {clips.parent.name}, split dev: {len(VOICES) * EACH} human recordings")


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ([], 2, "name the weights and labelled recordings: WEIGHTS --data clips.csv"),
        (["WEIGHTS"], 2, "name the weights and labelled recordings"),
        (["WEIGHTS", "--data", "none.csv"], 1, "error: none.csv: no such file or folder; give a CSV with the columns"),
        (["WEIGHTS", "--data", "tests"], 1, "error: "),
        (["none", "--data", "CLIPS"], 1, "error: none"),
        (["WEIGHTS", "--data", "CLIPS", "--split", "eval"], 1, "no line of split 'eval'; there are: dev"),
        (["WEIGHTS", "--data", "CLIPS", "--plot", "x.pdf"], 1, "error: x.pdf: written as .png"),
        (["WEIGHTS", "--data", "CLIPS", "--output", "nowhere/x.json"], 1, "there is no folder nowhere; make it first"),
        (["WEIGHTS", "--scores", "s.txt", "--output", "c.json"], 2, "give --output FILE with it, and no weights"),
        (["--scores", "s.txt"], 2, "--scores FILE: give --output FILE with it"),
    ],
)
def test_wrong_use_is_one_line(
    command: Command, weights: Path, clips: Path, arguments: list[str], code: int, complaint: str
) -> None:
    given = [{"WEIGHTS": str(weights), "CLIPS": str(clips)}.get(each, each) for each in arguments]
    found, out, err = command("calibrate", *given)
    assert (found, out) == (code, "")
    assert complaint in " ".join(err.split())
    assert code == 2 or err.count("\n") == 1
