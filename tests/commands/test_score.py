"""`aasist-jax score`: formats, exit codes, one line for every fault, and what a start does not import."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aasist_jax.detection.batches import score_in_batches
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.files import COLUMNS, score_files
from aasist_jax.detection.inputs import find_recordings
from aasist_jax.detection.result import Score
from tests.commands.toy_recordings import make_scratch
from tests.models import toy

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scratch(tmp_path_factory.mktemp("cli"))


def rows(command: Any, scratch: Path, *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    code, out, err = command("score", *arguments, "--weights", scratch / "weights", "--format", "jsonl")
    return code, [json.loads(line) for line in out.splitlines()], err


def test_jsonl_holds_what_the_detector_says(command: Any, scratch: Path) -> None:
    files = [scratch / "long.wav", scratch / "stereo.wav"]
    code, found, err = rows(command, scratch, *files)
    assert (code, err) == (0, "")
    detector = Detector.from_pretrained(scratch / "weights")
    for file, row in zip(files, found, strict=True):
        result = detector.score(file)
        assert result.logits is not None
        # One batch of two against two of one.
        assert row == {
            "file": str(file),
            "label": result.label,
            "score": pytest.approx(result.score, rel=1e-6),
            "duration": result.duration,
            "heard_seconds": result.heard_seconds,
            "status": result.status,
            "spoof_logit": pytest.approx(result.logits[0], rel=1e-6),
            "bonafide_logit": pytest.approx(result.logits[1], rel=1e-6),
            "llr": None,
            "p_spoof": None,
            "model_id": result.model_id,
            "error": None,
        }


def test_one_side_of_a_stereo_call(command: Any, scratch: Path, tmp_path: Path) -> None:
    options = ("--weights", scratch / "weights", "--format", "jsonl")
    detector = Detector.from_pretrained(scratch / "weights")
    scores = []
    for side in (0, 1):
        code, out, _ = command("score", scratch / "stereo.wav", *options, "--channel", side)
        assert code == 0
        scores.append(json.loads(out)["score"])
        assert scores[side] == pytest.approx(detector.score(scratch / "stereo.wav", channel=side).score, abs=1e-6)
    assert scores[0] != scores[1]
    code, _, errors = command("score", scratch / "stereo.wav", *options, "--channel", 2)
    assert code == 1
    assert "no channel 2; there are 2" in errors

    out = ("--out", tmp_path / "scores.jsonl")
    assert command("score", scratch / "stereo.wav", *options, "--channel", 0, *out)[0] == 0
    code, _, errors = command("score", scratch / "stereo.wav", *options, "--channel", 1, *out, "--resume")
    assert code == 1
    assert "of another channel" in errors


@pytest.mark.parametrize("prior", ["0", "1", "-0.5", "1.5", "nan", "inf"])
def test_a_prior_that_is_none_claims_no_file(command: Any, scratch: Path, tmp_path: Path, prior: str) -> None:
    out = tmp_path / "scores.csv"
    options = ("--weights", scratch / "weights", "--out", out, f"--p-spoof={prior}")
    code, _, err = command("score", scratch / "long.wav", *options)
    assert code == 2
    assert "the prior of a spoof must lie between 0 and 1" in err
    assert not out.exists()


def test_all_windows_are_an_option(command: Any, scratch: Path) -> None:
    code, (row,), _ = rows(command, scratch, scratch / "long.wav", "--windows", "all")
    # In batches of the same size: in others XLA sums the graph part in another order on some processors.
    detector = Detector.from_pretrained(scratch / "weights")
    (result,) = score_in_batches(detector, [lambda: scratch / "long.wav"], windows="all")
    assert isinstance(result, Score)
    assert code == 0
    assert len(row["window_scores"]) == 3
    assert row["window_scores"] == list(result.window_scores)
    assert row["score"] == result.score


def test_json_and_csv_hold_the_same_as_jsonl(command: Any, scratch: Path) -> None:
    files = [scratch / name for name in ("long.wav", "text.wav", "silent.wav")]
    _, expected, _ = rows(command, scratch, *files)
    code, out, _ = command("score", *files, "--weights", scratch / "weights", "--format", "json")
    assert code == 3
    assert json.loads(out) == expected
    code, out, _ = command("score", *files, "--weights", scratch / "weights", "--format", "csv")
    assert code == 3
    table = list(csv.DictReader(io.StringIO(out)))
    assert out.splitlines()[0] == ",".join(COLUMNS)
    assert table == [{key: "" if value is None else str(value) for key, value in row.items()} for row in expected]


def test_the_table_shows_every_file(command: Any, scratch: Path) -> None:
    files = [scratch / name for name in ("long.wav", "silent.wav", "text.wav")]
    code, out, err = command("score", *files, "--weights", scratch / "weights")
    result = Detector.from_pretrained(scratch / "weights").score(files[0])
    assert code == 3
    lines = [line.split() for line in out.splitlines()]
    assert ["file", "label", "score", "seconds", "status"] in lines
    assert [str(files[0]), result.label, f"{result.score:+.3f}", "0.25", "of", "0.62", "ok"] in lines
    assert [str(files[1]), "-", "1.00", "silent"] in lines
    assert [str(files[2]), "error"] in lines
    assert err.startswith(f"error: {files[2]}: not audio that can be decoded")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["long.wav"], 0),
        (["silent.wav"], 0),
        (["long.wav", "text.wav", "none.wav"], 3),
        (["text.wav"], 1),
        (["none.wav", "text.wav"], 1),
    ],
)
def test_the_exit_code_tells_how_many_failed(command: Any, scratch: Path, names: list[str], expected: int) -> None:
    code, found, err = rows(command, scratch, *(scratch / name for name in names))
    assert code == expected
    bad = [row for row in found if row["status"] == "error"]
    assert [row["file"] for row in bad] == [str(scratch / name) for name in names if name in ("text.wav", "none.wav")]
    assert err == "".join(f"error: {row['error']}\n" for row in bad)
    assert all(row["label"] is row["score"] is row["spoof_logit"] is None for row in bad)


@pytest.mark.parametrize("format", ["table", "json", "jsonl", "csv"])
def test_a_missing_weights_folder_is_one_line_and_no_output(command: Any, scratch: Path, format: str) -> None:
    for weights in (scratch / "none", scratch):
        code, out, err = command("score", scratch / "long.wav", "--weights", weights, "--format", format)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {weights}: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["score"],
        ["score", "a.wav", "--format", "xml"],
        ["score", "a.wav", "--windows", "some"],
        ["score", "a.wav", "--colour"],
        ["score", "a.wav", "--segments", "b.json"],
        ["score", "a.wav", "--vad"],
        ["score", "a.wav", "--min-spoof", "2"],
        ["scores", "a.wav"],
        ["fetch-weights"],
    ],
)
def test_wrong_usage_exits_with_2(command: Any, arguments: list[str]) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ")


def test_names_that_are_no_text_are_printed_safely(command: Any, scratch: Path, tmp_path: Path) -> None:
    for name in (b"caf\xe9.wav", b"red\x1b[31m\n.wav"):
        file = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
        file.write_bytes((scratch / "long.wav").read_bytes())
        for format in ("table", "json", "jsonl", "csv"):
            code, out, err = command("score", file, "--weights", scratch / "weights", "--format", format)
            assert (code, err) == (0, "")
            out.encode("utf-8")
            assert "\x1b[31m" not in out or format == "csv"
        code, _, err = command("score", tmp_path / os.fsdecode(name + b"?"), "--weights", scratch / "weights")
        assert code == 1
        assert err.count("\n") == 1
        assert "\x1b" not in err


@pytest.fixture
def folder(scratch: Path, tmp_path: Path) -> Path:
    """A folder as people have them: two sound recordings, and all sorts of other things."""
    for name in (b"b b.wav", b"caf\xe9\n.wav"):
        os.link(scratch / "long.wav", os.path.join(os.fsencode(tmp_path), name))
    (tmp_path / "empty.wav").touch()
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")
    (tmp_path / "list.txt").write_text("not meant")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "memory.wav").symlink_to("/proc/self/mem")  # what not even root can read
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "text.wav").write_text("no audio")
    return tmp_path


def test_a_folder_with_bad_files_in_it(command: Any, scratch: Path, folder: Path) -> None:
    code, found, err = rows(command, scratch, "-r", folder)
    assert code == 3
    outcomes = {os.path.relpath(row["file"], folder): row["status"] for row in found}
    assert outcomes == {
        "b b.wav": "ok",
        "caf\udce9\n.wav": "ok",
        "empty.wav": "error",
        "gone.wav": "error",
        "memory.wav": "error",
        "pipe.wav": "error",
        "text.wav": "error",
    }
    errors = [row["error"] for row in found if row["error"]]
    assert err == "".join(f"error: {error}\n" for error in errors)
    for error, reason in zip(errors, ("is empty", "no such file", "cannot be read", "not a file", ""), strict=True):
        assert reason in error


def test_what_was_heard_stands_beside_what_there_is(command: Any, scratch: Path) -> None:
    """A 28 min MP3 through `score`: the seconds heard beside the seconds there are. The toy's window is 0.25 s."""
    files = [scratch / name for name in ("long.wav", "silent.wav")]
    for windows, heard, shown in (("first", 0.25, "0.25 of 0.62"), ("all", 0.625, "  0.62")):
        code, (row, silent), _ = rows(command, scratch, *files, "--windows", windows)
        assert (code, row["heard_seconds"], row["duration"]) == (0, heard, 0.625)
        assert (silent["heard_seconds"], silent["duration"]) == (0, 1)
        _, table, _ = command("score", *files, "--windows", windows, "--weights", scratch / "weights")
        lines = table.splitlines()
        assert next(line for line in lines if "long.wav" in line).partition("  ok")[0].rstrip().endswith(shown)
        assert " of 1.00" not in table


def test_files_left_out_of_subfolders_are_told(command: Any, scratch: Path, tmp_path: Path) -> None:
    """A folder with subfolders, no `-r`: a warning counts what is left out; with `-r` there is none."""
    (tmp_path / "deep").mkdir()
    for name in ("a.wav", "deep/b.wav", "deep/c.wav"):
        (tmp_path / name).hardlink_to(scratch / "long.wav")
    code, found, err = rows(command, scratch, tmp_path)
    assert (code, len(found)) == (0, 1)
    assert err == (f"warning: 2 audio files are left out, in subfolders of {tmp_path}; for them add --recursive (-r)\n")
    code, found, err = rows(command, scratch, tmp_path, "-r")
    assert (code, len(found), err) == (0, 3, "")


def test_an_address_is_a_row_with_the_command_that_gets_it(command: Any, scratch: Path) -> None:
    """`score https://example.org/call.mp3`: one sentence with the curl line."""
    code, (row,), err = rows(command, scratch, "https://example.org/call.mp3")
    assert (code, row["file"]) == (1, "https://example.org/call.mp3")
    assert row["error"] == (
        "https://example.org/call.mp3: recordings are read from files and not from addresses; get it first, with "
        "`curl -fLo call.mp3 https://example.org/call.mp3`"
    )
    assert err == f"error: {row['error']}\n"


def test_a_folder_without_audio_and_a_pattern_without_a_match(command: Any, scratch: Path, tmp_path: Path) -> None:
    code, found, err = rows(command, scratch, tmp_path, tmp_path / "*.wav")
    assert (code, len(found)) == (1, 2)
    assert err == (
        f"error: {tmp_path}: no audio files in this folder; for its subfolders add --recursive\n"
        f"error: {tmp_path}/*.wav: matches no file; check the pattern\n"
    )
    code, found, err = rows(command, scratch, scratch / "long.wav", tmp_path)
    assert (code, [row["status"] for row in found]) == (3, ["ok", "error"])


def test_a_recording_given_twice_is_scored_once(command: Any, scratch: Path) -> None:
    code, found, _ = rows(command, scratch, scratch / "long.wav", scratch / "*ng.wav", scratch / "long.wav")
    assert (code, [row["file"] for row in found]) == (0, [str(scratch / "long.wav")])


def test_a_file_that_vanishes_is_a_row_like_any_other(command: Any, scratch: Path, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.wav").hardlink_to(scratch / "long.wav")
    recordings = find_recordings([tmp_path])
    (tmp_path / "b.wav").unlink()
    (tmp_path / "c.wav").chmod(0)
    found = list(score_files(Detector.from_pretrained(scratch / "weights"), recordings))
    (tmp_path / "c.wav").chmod(0o644)
    assert [row.outcome == "error" for row in found] == [False, True, os.geteuid() != 0]
    assert found[1].error == f"{tmp_path}/b.wav: no such file; give the path of an audio file"


def test_stop_on_error_ends_with_the_first(command: Any, scratch: Path) -> None:
    files = [scratch / name for name in ("long.wav", "text.wav", "stereo.wav")]
    code, found, err = rows(command, scratch, *files, "--stop-on-error")
    assert (code, [row["status"] for row in found], err.count("\n")) == (1, ["ok", "error"], 1)
    code, found, _ = rows(command, scratch, *files, "--continue-on-error")
    assert (code, [row["status"] for row in found]) == (3, ["ok", "error", "ok"])
    code, found, err = rows(command, scratch, files[0], "--stop-on-error")
    assert (code, len(found), err) == (0, 1, "")


def test_fail_on_spoof_has_an_exit_code_of_its_own(command: Any, scratch: Path, tmp_path: Path) -> None:
    judge = toy.toy_weights().variables["params"]["judge"]["kernel"]
    for name, is_louder in (("one.wav", judge[:, 1] > judge[:, 0]), ("other.wav", judge[:, 1] < judge[:, 0])):
        # What the toy hears is where in a period of its width the sound is loud.
        soundfile.write(tmp_path / name, np.tile(np.where(is_louder, 0.5, 0.01), 100), 16_000)
    _, found, _ = rows(command, scratch, tmp_path, scratch / "silent.wav")
    by_label = {row["label"]: row["file"] for row in found}
    assert set(by_label) == {"bonafide", "spoof", None}
    bad = scratch / "text.wav"
    for inputs, expected in (
        ([by_label["bonafide"], by_label[None]], 0),
        ([by_label["bonafide"], by_label["spoof"]], 4),
        ([by_label["spoof"], bad], 4),
        ([by_label["bonafide"], bad], 3),
        ([bad], 1),
    ):
        assert rows(command, scratch, *inputs, "--fail-on-spoof")[0] == expected
    assert rows(command, scratch, by_label["spoof"], bad, "--fail-on-spoof", "--stop-on-error")[0] == 1
    assert rows(command, scratch, by_label["spoof"])[0] == 0


@pytest.mark.parametrize("format", ["json", "jsonl", "csv"])
def test_a_file_holds_what_is_printed_otherwise(command: Any, scratch: Path, folder: Path, format: str) -> None:
    inputs = (folder, "--weights", scratch / "weights")
    _, printed, _ = command("score", *inputs, "--format", format)
    out = scratch / "new" / f"{folder.name}.{format}"
    code, nothing, err = command("score", *inputs, "--out", out)
    assert (code, nothing) == (3, "")
    assert out.read_text() == printed
    assert err.splitlines()[-1] == f"{out}: 7 recordings: {summary_of(printed)}, 5 failed"
    code, nothing, err = command("score", *inputs, "--out", out)
    assert (code, nothing) == (1, "")
    assert err == f"error: {out}: is there already; go on with it by --resume, or remove it\n"
    assert out.read_text() == printed
    if format != "json":
        # As if never ended: nothing is done again, and the exit code is that of all.
        code, nothing, err = command("score", *inputs, "--out", out, "--resume")
        assert (code, nothing) == (3, "")
        assert err == f"{out}: 7 recordings: {summary_of(printed)}, 5 failed\n"
        assert out.read_text() == printed
        assert command("score", *inputs, "--out", out, "--resume", "--stop-on-error")[0] == 1
        assert out.read_text() == printed


def summary_of(printed: str) -> str:
    return "2 bona fide" if "bonafide" in printed.replace("bonafide_logit", "") else "2 spoof"


def test_a_file_resumed_grows_by_what_is_new(command: Any, scratch: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    common = ("--weights", scratch / "weights", "--out", out, "--resume")
    assert command("score", scratch / "long.wav", *common)[0] == 0
    first = out.read_text()
    code, _, err = command("score", scratch / "stereo.wav", scratch / "long.wav", *common)
    assert code == 0
    assert out.read_text().startswith(first)
    assert [row["file"] for row in csv.DictReader(io.StringIO(out.read_text()))] == [
        str(scratch / n) for n in ("long.wav", "stereo.wav")
    ]
    assert "2 recordings" in err
    code, _, err = command("score", scratch / "long.wav", *common, "--windows", "all")
    assert (code, err) == (1, f"error: {out}: its scores are of another windows; give another --out\n")


def test_a_file_resumed_is_the_same_to_the_last_bit(command: Any, scratch: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    arguments = (scratch / "stereo.wav", scratch / "long.wav", "--weights", scratch / "weights", "--out", out)
    assert command("score", *arguments)[0] == 0
    whole = out.read_text()
    out.write_text("".join(whole.splitlines(keepends=True)[:2]))
    # One that is left of a job of two is scored in a batch of two.
    assert command("score", *arguments, "--resume")[0] == 0
    assert out.read_text() == whole


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--resume"], "--resume: needs --out with the format jsonl or csv"),
        (["--resume", "--out", "x.json"], "--resume: needs --out with the format jsonl or csv"),
        (["--out", "x.txt"], "a table is for reading"),
        (["--out", "x.csv", "--format", "table"], "a table is for reading"),
        (["--resume", "--out", "x.csv", "-"], "standard input cannot be told from another one"),
    ],
)
def test_options_that_do_not_go_together(command: Any, scratch: Path, options: list[str], reason: str) -> None:
    code, out, err = command("score", scratch / "long.wav", "--weights", scratch / "weights", *options)
    assert (code, out) == (2, "")
    assert reason in err
    assert not Path("x.csv").exists()
