"""`aasist-jax verdicts`: the shares add up, of all recordings and of every voice and system."""

from pathlib import Path

import pytest

from aasist_jax.corpus.degradations import DEGRADATIONS
from aasist_jax.detection.detector import Detector
from tests.commands.labelled_clips import SYSTEMS, VOICES, read_table, write_clips, write_table
from tests.commands.toy_recordings import save_calibrated_toy
from tests.conftest import Command
from tests.models import toy

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verdicts")
    write_clips(folder)
    save_calibrated_toy(folder / "weights")
    toy.save_toy(folder / "uncalibrated")
    return folder


def shares(out: str) -> dict[str, list[str]]:
    """The count and the shares of every row, by its name."""
    found = {}
    for line in out.splitlines():
        name, _, rest = line.strip().partition("  ")
        if rest and "%" in rest:
            found[name] = [word for word in rest.replace("to", "").replace("%", "").split() if word]
    return found


def test_shares_are_those_of_the_detectors_labels(command: Command, scratch: Path) -> None:
    code, out, err = command("verdicts", scratch / "clips.csv", "--weights", scratch / "weights")
    assert (code, err) == (0, "")
    detector = Detector.from_pretrained(scratch / "weights")
    rows = read_table(scratch / "clips.csv")
    labels = [detector.score(scratch / row["path"]).label for row in rows]
    assert set(labels) == {"human", "unsure", "synthetic"}
    table = shares(out)
    for name, column, value, wrong in (
        ("human (wrong: called synthetic)", "label", "human", "synthetic"),
        ("synthetic (wrong: called human)", "label", "synthetic", "human"),
        *((voice, "speaker", voice, "synthetic") for voice in VOICES),
        *((system, "attack", system, "human") for system in SYSTEMS),
    ):
        own = [
            label
            for row, label in zip(rows, labels, strict=True)
            if row[column] == value and (column != "speaker" or row["label"] == "human")
        ]
        count, right_share, wrong_share, low, high, unsure_share = map(float, table[name])
        assert count == len(own)
        assert wrong_share == pytest.approx(100 * own.count(wrong) / len(own), abs=0.05)
        assert unsure_share == pytest.approx(100 * own.count("unsure") / len(own), abs=0.05)
        assert right_share + wrong_share + unsure_share == pytest.approx(100, abs=0.15)
        assert low <= wrong_share + 0.05
        assert wrong_share <= high + 0.05
    assert f"Unsure: {100 * labels.count('unsure') / len(labels):.1f} % of {len(labels)} recordings." in out


def test_without_a_calibration_all_are_unsure(command: Command, scratch: Path) -> None:
    code, out, err = command("verdicts", scratch / "clips.csv", "--weights", scratch / "uncalibrated")
    assert code == 0
    assert "not calibrated, so every verdict is unsure; " in err
    assert out.splitlines()[-1] == "Unsure: 100.0 % of 48 recordings."


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
def test_recordings_can_be_degraded_first(command: Command, scratch: Path, name: str) -> None:
    rows = [row | {"path": str(scratch / row["path"])} for row in read_table(scratch / "clips.csv")[:4]]
    table = write_table(scratch / "few.csv", rows)
    code, out, _ = command("verdicts", table, "--weights", scratch / "weights", "--degrade", name)
    assert code == 0
    assert "of 4 recordings." in out
    # A telephone passes no more than 3.4 kHz; the calibration made by hand knows such recordings.
    assert name in DEGRADATIONS


def test_what_cannot_be_read_is_told_and_does_not_count(command: Command, scratch: Path, tmp_path: Path) -> None:
    rows = [row | {"path": str(scratch / row["path"])} for row in read_table(scratch / "clips.csv")[:4]]
    (tmp_path / "text.wav").write_text("no audio")
    table = write_table(tmp_path / "some.csv", [*rows, rows[0] | {"path": "text.wav"}])
    code, out, err = command("verdicts", table, "--weights", scratch / "weights")
    assert code == 0
    assert "of 4 recordings." in out
    assert "text.wav: not audio that can be decoded" in err
    table = write_table(tmp_path / "none.csv", [rows[0] | {"path": "text.wav"}])
    code, out, err = command("verdicts", table, "--weights", scratch / "weights")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"error: {table}: none of its recordings could be read"


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["none.csv"], 1, "error: none.csv: no such file or folder; give a CSV with the columns path,label,speaker"),
        (["CLIPS", "--degrade", "telefone"], 1, "error: --degrade: there is no 'telefone'; "),
        (["CLIPS", "--split", "eval"], 1, "no line of split 'eval'"),
        (["CLIPS", "--sure", "0.4"], 2, "--sure: expected a probability above 0.5"),
        (["NUMBERS"], 1, "say it with --bonafide-is 1"),
    ],
)
def test_wrong_use_is_one_line(
    command: Command, scratch: Path, arguments: list[str], code: int, complaint: str
) -> None:
    numbers = [row | {"label": str(int(row["label"] == "human"))} for row in read_table(scratch / "clips.csv")]
    names = {"CLIPS": scratch / "clips.csv", "NUMBERS": write_table(scratch / "numbers.csv", numbers)}
    found, out, err = command(
        "verdicts", *(names.get(each, each) for each in arguments), "--weights", scratch / "weights"
    )
    assert (found, out) == (code, "")
    assert complaint in " ".join(err.split())
