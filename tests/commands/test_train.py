"""`aasist-jax train`: what it says of data that it cannot use, and its end.

How it is stopped and gone on with is tested in `tests/training/test_resume.py`.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from aasist_jax.calibration.detector_calibration import read_detector_calibration
from aasist_jax.commands.train import _show_what_it_can
from aasist_jax.detection.detector import CALIBRATION_FILE
from tests.commands.labelled_clips import write_corpus as write_labelled
from tests.models import toy


@pytest.mark.usefixtures("toy_family")
@pytest.mark.parametrize("on_bad", ["fail", "skip"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No such file or directory; check the path of the data set and its layout"),
        (
            "a.wav,human\nb.wav,synthetic\n",
            "its first line is a clip already; put a line above it that names the columns, as in path,label",
        ),
        ("path,label\n", "lists no clips"),
    ],
)
def test_a_table_that_cannot_be_trained_on_is_one_line_with_the_remedy_that_helps(
    command: Any, tmp_path: Path, text: str | None, told: str, on_bad: str
) -> None:
    """A missing table, or one without a header, has no clips to skip."""
    table, config = tmp_path / "clips.csv", tmp_path / "toy.json"
    if text is not None:
        table.write_text(text)
    value = {
        "model_config": {"architecture": "Toy", "nb_samp": 4000},
        "optim_config": {"base_lr": 0.1},
        "database_path": str(table),
        "data_config": {"layout": "csv", "on_bad_file": on_bad},
    }
    config.write_text(json.dumps(value))
    code, out, err = command("train", "--config", config, "--output", tmp_path / "run")
    assert (code, out, err) == (1, "", f"error: train, dev: {table}: {told}\n")


@pytest.mark.usefixtures("toy_family")
def test_at_the_end_it_is_calibrated_and_shows_what_it_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    corpus, weights = write_labelled(tmp_path / "corpus"), toy.save_toy(tmp_path / "weights")
    _show_what_it_can(corpus, weights)
    shown = capsys.readouterr()
    fitted = read_detector_calibration(weights / CALIBRATION_FILE).fitted_on
    assert (fitted.data, fitted.human, fitted.synthetic) == ("corpus, split dev", 24, 24)
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert (
        "Verdicts on voices that it never met (they must be 90 % sure; a detector this small is often unsure):" in lines
    )
    assert any(line.startswith("human (wrong: called synthetic) 24 ") for line in lines)
    assert any(line.startswith("synthetic (wrong: called human) 24 ") for line in lines)
    assert any(line.startswith("Unsure: ") and line.endswith(" of 48 recordings.") for line in lines)
    assert any("human.flac human 0." in line for line in lines)
    assert any("synthetic.flac synthetic 0." in line for line in lines)
    assert any(line.endswith(f" score FILE --weights {weights}") for line in lines)


@pytest.mark.usefixtures("toy_family")
def test_what_cannot_be_calibrated_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, weights = write_labelled(tmp_path / "corpus"), toy.save_toy(tmp_path / "weights")
    listing = corpus / "ASVspoof2019_LA_cm_protocols" / "ASVspoof2019.LA.cm.dev.trl.txt"
    turned = {"bonafide": "spoof", "spoof": "bonafide"}
    rows = [line.split() for line in listing.read_text().splitlines()]
    listing.write_text(
        "".join(" ".join([*row[:3], "A01" if row[3] == "-" else "-", turned[row[4]]]) + "\n" for row in rows)
    )
    _show_what_it_can(corpus, weights)
    shown = capsys.readouterr()
    assert "cannot be calibrated on the dev split: the scores of human recordings are not the higher ones" in shown.err
    assert "Unsure: 100.0 % of 48 recordings." in shown.out
    assert not (weights / CALIBRATION_FILE).exists()
