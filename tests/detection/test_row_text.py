"""Score files that can be gone on with: whole rows are kept, half a row is not, wherever it was cut."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.audio.facts import SignalFacts
from aasist_jax.commands import score
from aasist_jax.detection.files import Row
from aasist_jax.detection.result import Score
from aasist_jax.detection.row_text import Format, Identity, opened_output, write_rows
from aasist_jax.detection.verdict import DecisionRule, Verdict, judge
from aasist_jax.errors import ScoreFileError

IDENTITY = Identity("toy-0123", prior=0.5, sure=0.9, published=False)
FACTS = SignalFacts(2.0, 1.5, level_dbfs=-26.0, peak=0.5, clipped_share=0.0, bandwidth_hz=7000.0)


def result(verdict: Verdict | None, logits: tuple[float, float] | None, heard: float = 2.0) -> Score:
    return Score(
        verdict=verdict,
        score=logits[1] if logits else None,
        logits=logits,
        seconds=2.0,
        heard_seconds=heard,
        speech_seconds=1.5,
        status="ok",
        facts=FACTS,
        weights_id="toy-0123",
        model_id="toy-0123",
        windows=(),
    )


RULE = DecisionRule()
ROWS = [
    Row("plain.wav", result(judge(np.array([-3.5]), RULE), (1.5, -1.5), heard=1.0)),
    Row('a "quoted", name\nof two\r lines\u2028.wav', result(judge(np.array([2.5]), RULE), (-1.0, 0.1))),
    Row("caf\udce9 ö.wav", None, "caf: not audio"),
    Row("silent.wav", result(judge(np.zeros(0), RULE, ["silent", "short"]), None, heard=0.0)),
    Row("published.wav", result(None, (0.25, 0.75))),
]
OUTCOMES = ["synthetic", "human", "error", "unsure", ""]


def write(
    path: Path, rows: list[Row], format: Format, *, resume: bool, identity: Identity = IDENTITY
) -> dict[str, str]:
    with opened_output(path, format, identity, resume=resume) as (file, outcomes):
        is_new = not path.stat().st_size
        left = [row for row in rows if row.file.encode("utf-8", "backslashreplace").decode() not in outcomes]
        write_rows(left, format, lambda text: print(text, end="", file=file, flush=True), header=is_new)
        return outcomes


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_file_cut_anywhere_ends_as_if_it_had_not_been(tmp_path: Path, format: Format) -> None:
    write(tmp_path / "whole", ROWS, format, resume=False)
    whole = (tmp_path / "whole").read_bytes()
    kept = set()
    near_an_end = {i + offset for i, byte in enumerate(whole) if byte in b'\n\r"' for offset in (0, 1)}
    for length in sorted({*range(0, len(whole), 7), *near_an_end, len(whole)}):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        (tmp_path / "cut.identity.json").write_bytes((tmp_path / "whole.identity.json").read_bytes())
        kept.add(len(write(path, ROWS, format, resume=True)))
        assert path.read_bytes() == whole, length
    assert kept == set(range(len(ROWS) + 1))


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_outcomes_of_the_rows_there_are_told(tmp_path: Path, format: Format) -> None:
    assert write(tmp_path / "out", ROWS, format, resume=True) == {}
    outcomes = write(tmp_path / "out", ROWS, format, resume=True)
    assert list(outcomes.values()) == OUTCOMES
    assert list(outcomes)[1] == ROWS[1].file


def test_csv_names_survive_any_reader(tmp_path: Path) -> None:
    write(tmp_path / "out", ROWS, "csv", resume=False)
    with (tmp_path / "out").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file, strict=True))
    assert [row["file"] for row in found] == [
        "plain.wav",
        ROWS[1].file,
        "caf\\udce9 ö.wav",
        "silent.wav",
        "published.wav",
    ]
    assert [row["score"] for row in found] == ["-1.5", "0.1", "", "", "0.75"]
    assert [row["label"] for row in found] == ["synthetic", "human", "", "unsure", ""]
    assert [row["llr"] for row in found] == ["-3.5", "2.5", "", "", ""]
    assert [float(row["p_synthetic"] or "nan") for row in found[:2]] == [
        ROWS[0].result.p_synthetic,
        ROWS[1].result.p_synthetic,
    ]
    assert [row["reasons"] for row in found] == ["", "", "", "silent; short", ""]
    assert [(row["heard_seconds"], row["seconds"]) for row in found] == [
        *(("1.0", "2.0"), ("2.0", "2.0"), ("", ""), ("0.0", "2.0"), ("2.0", "2.0")),
    ]


@pytest.mark.parametrize("format", ["jsonl", "csv", "json"])
def test_a_file_that_is_there_is_not_touched(tmp_path: Path, format: Format) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(ScoreFileError, match=r"out: is there already; go on with it by --resume, or remove it$"):
        write(tmp_path / "out", ROWS, format, resume=False)
    with pytest.raises(ScoreFileError, match=r"out: cannot go on with it, since out.identity.json, .* is missing"):
        write(tmp_path / "out", ROWS, format, resume=True)
    assert (tmp_path / "out").read_text() == "precious"


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(IDENTITY, model_id="toy-4567"), "model_id"),
        (replace(IDENTITY, model_id="toy-0123+4567"), "model_id"),
        (replace(IDENTITY, published=True), "published"),
        (replace(IDENTITY, prior=0.1, sure=0.99), "prior and sure"),
        (replace(IDENTITY, channel=1), "channel"),
    ],
)
def test_scores_of_another_kind_are_refused(tmp_path: Path, other: Identity, named: str) -> None:
    write(tmp_path / "out", ROWS, "csv", resume=False)
    before = (tmp_path / "out").read_bytes()
    with pytest.raises(ScoreFileError, match=rf"out: its scores are of another {named}; give another --output$"):
        write(tmp_path / "out", ROWS, "csv", resume=True, identity=other)
    assert (tmp_path / "out").read_bytes() == before


@pytest.mark.parametrize(
    ("format", "damage"),
    [
        ("jsonl", b'{"file": "x"}\n'),
        ("jsonl", b"[]\n"),
        ("jsonl", b"null\n"),
        ("jsonl", b"\xff\n"),
        ("csv", b"a,b\n"),
        ("csv", b'"a"b,\n'),
        ("csv", b"\xff\n"),
    ],
)
def test_a_line_that_is_no_row_is_refused_and_kept(tmp_path: Path, format: Format, damage: bytes) -> None:
    path = tmp_path / "out"
    write(path, ROWS, format, resume=False)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[:first] + damage + whole[first:])
    with pytest.raises(ScoreFileError, match=f"out: holds a line that is no row of {format} scores"):
        write(path, ROWS, format, resume=True)
    assert path.read_bytes() == whole[:first] + damage + whole[first:]


def test_a_csv_of_something_else_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "out", ROWS, "csv", resume=False)
    (tmp_path / "out").write_text("name,age\nx,3\n")
    with pytest.raises(ScoreFileError, match="no row of csv scores"):
        write(tmp_path / "out", ROWS, "csv", resume=True)


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    with (
        opened_output(tmp_path / "out", "csv", IDENTITY, resume=False),
        pytest.raises(ScoreFileError, match="out: another process is writing it"),
    ):
        write(tmp_path / "out", ROWS, "csv", resume=True)


def test_rows_that_came_before_a_stop_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> object:
        yield from ROWS[:2]
        raise KeyboardInterrupt

    text = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        write_rows(interrupted(), "json", text.write)
    assert [row["score"] for row in json.loads(text.getvalue())] == [-1.5, 0.1]
    with pytest.raises(KeyboardInterrupt):
        score.print_rows(interrupted(), score.Format.table, text.write, header=True, published=False)
    assert "plain.wav" in capsys.readouterr().out
