"""`aasist-jax score`: formats, exit codes, one line for every fault, and what a start does not import."""

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aasist_jax.detection.detector import Detector
from aasist_jax.detection.files import COLUMNS, score_files
from aasist_jax.detection.inputs import find_recordings
from tests.commands.toy_recordings import make_scratch, rows
from tests.made_speech import made_speech

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scratch(tmp_path_factory.mktemp("cli"))


def test_jsonl_holds_what_the_detector_says(command: Any, scratch: Path) -> None:
    files = [scratch / "human.wav", scratch / "stereo.wav"]
    code, found, err = rows(command, scratch, *files)
    assert (code, err) == (0, "")
    assert [row["label"] for row in found] == ["human", "unsure"]
    detector = Detector.from_pretrained(scratch / "weights")
    for file, row in zip(files, found, strict=True):
        result = detector.score(file)
        assert result.logits is not None
        # One batch of two against two of one.
        assert row == {
            "file": str(file),
            "channel": None,
            "label": result.label,
            "p_synthetic": pytest.approx(result.p_synthetic, rel=1e-5),
            "llr": pytest.approx(result.llr, rel=1e-5),
            "reasons": "; ".join(result.reasons) or None,
            "score": pytest.approx(result.score, rel=1e-6),
            "seconds": result.seconds,
            "heard_seconds": result.heard_seconds,
            "speech_seconds": result.speech_seconds,
            "status": result.status,
            "spoof_logit": pytest.approx(result.logits[0], rel=1e-6),
            "bonafide_logit": pytest.approx(result.logits[1], rel=1e-6),
            "weights_id": result.weights_id,
            "model_id": result.model_id,
            "error": None,
        }


@pytest.mark.parametrize("option", ["--prior", "--sure"])
@pytest.mark.parametrize("value", ["0", "1", "-0.5", "1.5", "nan", "inf"])
def test_a_rule_that_is_none_claims_no_file(
    command: Any, scratch: Path, tmp_path: Path, option: str, value: str
) -> None:
    out = tmp_path / "scores.csv"
    options = ("--weights", scratch / "weights", "--output", out, f"{option}={value}")
    code, _, err = command("score", scratch / "human.wav", *options)
    assert code == 2
    complaint = {"--prior": "the probability of synthetic speech must lie between 0 and 1", "--sure": "above 0.5 and"}
    assert f"{option}: " in err
    assert complaint[option] in " ".join(err.split())
    assert not out.exists()


def test_prior_and_sureness_decide(command: Any, scratch: Path) -> None:
    """The evidence stays the same; what is made of it changes."""
    file = scratch / "unsure.wav"
    found = [
        rows(command, scratch, file, *options)[1][0]
        for options in ((), ("--prior", 0.99), ("--prior", 0.01), ("--sure", 0.52))
    ]
    assert [row["label"] for row in found] == ["unsure", "synthetic", "human", "human"]
    assert len({row["llr"] for row in found}) == 1
    plain, likely, unlikely, _ = (row["p_synthetic"] for row in found)
    assert unlikely < plain < likely


def test_without_a_calibration_every_verdict_is_unsure_and_a_line_says_what_mends_it(
    command: Any, scratch: Path, tmp_path: Path
) -> None:
    """No confident label without a calibration."""
    weights = scratch / "uncalibrated"
    code, out, err = command("score", scratch / "human.wav", scratch / "noise.wav", "--weights", weights)
    assert code == 0
    assert err == (
        f"warning: {weights}: not calibrated, so every verdict is unsure; calibrate with recordings whose truth you "
        f"know: `aasist-jax calibrate {weights} --data clips.csv` (columns path,label,speaker)\n"
    )
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert f"{scratch / 'human.wav'} unsure +0.490 2.2 s uncalibrated" in lines
    assert f"{scratch / 'noise.wav'} unsure 0.0 s of 2.0 s uncalibrated, no speech" in lines
    # A raw score claims nothing, so nothing needs mending.
    assert command("score", scratch / "human.wav", "--weights", weights, "--published")[2] == ""
    spaced = shutil.copytree(weights, tmp_path / "my weights")
    assert f"`aasist-jax calibrate '{spaced}' --data" in command("score", scratch / "human.wav", "--weights", spaced)[2]


def test_a_published_score_is_the_first_window_and_no_verdict(command: Any, scratch: Path) -> None:
    files = [scratch / name for name in ("human.wav", "synthetic.wav", "silent.wav")]
    code, found, err = rows(command, scratch, *files, "--published")
    assert (code, err) == (0, "")
    detector = Detector.from_pretrained(scratch / "weights")
    for file, row in zip(files, found, strict=True):
        assert row["label"] is row["llr"] is row["p_synthetic"] is row["reasons"] is None
        expected = detector.score(file, published=True)
        assert row["heard_seconds"] == expected.heard_seconds == (0 if file == files[2] else 0.25)
        assert row["score"] == (expected.score and pytest.approx(expected.score, rel=1e-6))
    _, table, _ = command("score", *files, "--weights", scratch / "weights", "--published")
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert "file score heard status" in lines
    assert f"{files[0]} {found[0]['score']:+.3f} 0.2 s of 2.2 s ok" in lines
    assert f"{files[2]} 0.0 s of 1.0 s silent" in lines
    # No label can fail.
    assert rows(command, scratch, *files, "--published", "--fail-on-synthetic")[0] == 0


def test_json_and_csv_hold_the_same_as_jsonl(command: Any, scratch: Path) -> None:
    files = [scratch / name for name in ("human.wav", "text.wav", "silent.wav", "noise.wav")]
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
    files = [scratch / f"{name}.wav" for name in ("human", "unsure", "synthetic", "silent", "noise", "text")]
    code, out, err = command("score", *files, "--weights", scratch / "weights")
    assert code == 3
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "file verdict P(synthetic) score heard why" in lines
    detector = Detector.from_pretrained(scratch / "weights")
    for file in files[:3]:
        result = detector.score(file)
        assert result.label == file.stem
        assert f"{file} {result.label} {result.p_synthetic:.3f} {result.score:+.3f} 2.2 s" in lines
    assert f"{files[3]} unsure 0.0 s of 1.0 s silent" in lines
    assert f"{files[4]} unsure 0.0 s of 2.0 s no speech" in lines
    assert f"{files[5]} error" in lines
    assert err.startswith(f"error: {files[5]}: not audio that can be decoded")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["human.wav"], 0),
        (["silent.wav"], 0),
        (["noise.wav"], 0),
        (["human.wav", "text.wav", "none.wav"], 3),
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
        code, out, err = command("score", scratch / "human.wav", "--weights", weights, "--format", format)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {weights}: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["score"],
        ["score", "a.wav", "--format", "xml"],
        ["score", "a.wav", "--windows", "all"],
        ["score", "a.wav", "--p-spoof", "0.5"],
        ["score", "a.wav", "--fail-on-spoof"],
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
        file.write_bytes((scratch / "human.wav").read_bytes())
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
        os.link(scratch / "human.wav", os.path.join(os.fsencode(tmp_path), name))
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


def test_too_little_to_judge_is_unsure_with_the_reason(command: Any, scratch: Path, tmp_path: Path) -> None:
    """A clip of 0.5 s was `ok`, one of 0.2 s `short` and labelled still: both are unsure, and the reason is given."""
    speech = made_speech(2.2)
    for seconds in (0.2, 0.5, 0.55, 2.2):
        soundfile.write(tmp_path / f"{seconds}.wav", speech[: round(seconds * 16_000)], 16_000)
    code, found, err = rows(command, scratch, tmp_path)
    assert (code, err) == (0, "")
    told = [(row["label"], row["reasons"], row["p_synthetic"] is None) for row in found]
    assert told == [
        ("unsure", "short; little speech", True),
        ("unsure", "little speech", True),
        ("unsure", "little speech", True),
        ("human", None, False),
    ]
    # What the model gave is there all the same.
    assert all(row["score"] is not None for row in found)


def test_what_was_heard_stands_beside_what_there_is(command: Any, scratch: Path, tmp_path: Path) -> None:
    """A 28 min MP3 through `score`: the whole of it is heard, and what is not stands beside what there is."""
    speech, pause = made_speech(2.0), np.zeros(16_000 * 62)
    soundfile.write(tmp_path / "talk.mp3", np.concatenate([speech, pause, speech]), 16_000)
    code, (row,), _ = rows(command, scratch, tmp_path / "talk.mp3")
    assert code == 0
    assert 4 <= row["heard_seconds"] < 6
    assert row["seconds"] == pytest.approx(66, abs=0.2)
    assert 3 < row["speech_seconds"] < 5
    _, table, _ = command("score", tmp_path / "talk.mp3", "--weights", scratch / "weights")
    assert re.search(r"  [45]\.\d s of 01:0[56]\.\d  ", table), table
    _, table, _ = command("score", scratch / "human.wav", "--weights", scratch / "weights")
    row, said = table.split("human.wav: ")
    assert " 2.2 s " in row
    assert " of " not in row
    assert said.startswith("human. P(synthetic) 0."), "one recording is told in a sentence, too"
    assert "Heard 2.2 s; " in " ".join(said.split())


def test_files_left_out_of_subfolders_are_told(command: Any, scratch: Path, tmp_path: Path) -> None:
    """A folder with subfolders, no `-r`: a warning counts what is left out; with `-r` there is none."""
    (tmp_path / "deep").mkdir()
    for name in ("a.wav", "deep/b.wav", "deep/c.wav"):
        (tmp_path / name).hardlink_to(scratch / "human.wav")
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
    code, found, err = rows(command, scratch, scratch / "human.wav", tmp_path)
    assert (code, [row["status"] for row in found]) == (3, ["ok", "error"])


def test_a_recording_given_twice_is_scored_once(command: Any, scratch: Path) -> None:
    code, found, _ = rows(command, scratch, scratch / "human.wav", scratch / "*man.wav", scratch / "human.wav")
    assert (code, [row["file"] for row in found]) == (0, [str(scratch / "human.wav")])


def test_a_file_that_vanishes_is_a_row_like_any_other(command: Any, scratch: Path, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.wav").hardlink_to(scratch / "human.wav")
    recordings = find_recordings([tmp_path])
    (tmp_path / "b.wav").unlink()
    (tmp_path / "c.wav").chmod(0)
    found = list(score_files(Detector.from_pretrained(scratch / "weights"), recordings))
    (tmp_path / "c.wav").chmod(0o644)
    assert [row.outcome == "error" for row in found] == [False, True, os.geteuid() != 0]
    assert found[1].error == f"{tmp_path}/b.wav: no such file; give the path of an audio file"


def test_stop_on_error_ends_with_the_first(command: Any, scratch: Path) -> None:
    files = [scratch / name for name in ("human.wav", "text.wav", "stereo.wav")]
    code, found, err = rows(command, scratch, *files, "--stop-on-error")
    assert (code, [row["status"] for row in found], err.count("\n")) == (1, ["ok", "error"], 1)
    code, found, _ = rows(command, scratch, *files, "--continue-on-error")
    assert (code, [row["status"] for row in found]) == (3, ["ok", "error", "ok"])
    code, found, err = rows(command, scratch, files[0], "--stop-on-error")
    assert (code, len(found), err) == (0, 1, "")


def test_fail_on_synthetic_has_an_exit_code_of_its_own(command: Any, scratch: Path) -> None:
    human, unsure, synthetic, silent, bad = (
        scratch / f"{name}.wav" for name in ("human", "unsure", "synthetic", "silent", "text")
    )
    for inputs, expected in (
        ([human, unsure, silent], 0),
        ([human, synthetic], 4),
        ([synthetic, bad], 4),
        ([human, bad], 3),
        ([bad], 1),
    ):
        assert rows(command, scratch, *inputs, "--fail-on-synthetic")[0] == expected
    assert rows(command, scratch, synthetic, bad, "--fail-on-synthetic", "--stop-on-error")[0] == 1
    assert rows(command, scratch, synthetic)[0] == 0


@pytest.mark.parametrize("format", ["json", "jsonl", "csv"])
def test_a_file_holds_what_is_printed_otherwise(command: Any, scratch: Path, folder: Path, format: str) -> None:
    inputs = (folder, "--weights", scratch / "weights")
    _, printed, _ = command("score", *inputs, "--format", format)
    out = scratch / "new" / f"{folder.name}.{format}"
    code, nothing, err = command("score", *inputs, "--output", out)
    assert (code, nothing) == (3, "")
    assert out.read_text() == printed
    assert err.splitlines()[-1] == f"{out}: 7 recordings: 2 human, 5 failed"
    code, nothing, err = command("score", *inputs, "--output", out)
    assert (code, nothing) == (1, "")
    assert err == f"error: {out}: is there already; go on with it by --resume, or remove it\n"
    assert out.read_text() == printed
    if format != "json":
        # As if never ended: nothing is done again, and the exit code is that of all.
        code, nothing, err = command("score", *inputs, "--output", out, "--resume")
        assert (code, nothing) == (3, "")
        assert err == f"{out}: 7 recordings: 2 human, 5 failed\n"
        assert out.read_text() == printed
        assert command("score", *inputs, "--output", out, "--resume", "--stop-on-error")[0] == 1
        assert out.read_text() == printed


def test_a_file_resumed_grows_by_what_is_new(command: Any, scratch: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    common = ("--weights", scratch / "weights", "--output", out, "--resume")
    assert command("score", scratch / "human.wav", *common)[0] == 0
    first = out.read_text()
    code, _, err = command("score", scratch / "stereo.wav", scratch / "human.wav", *common)
    assert code == 0
    assert out.read_text().startswith(first)
    assert [row["file"] for row in csv.DictReader(io.StringIO(out.read_text()))] == [
        str(scratch / n) for n in ("human.wav", "stereo.wav")
    ]
    assert "2 recordings" in err
    for option, told in (
        (("--published",), "published"),
        (("--prior", 0.1), "prior"),
        (("--sure", 0.8), "sure"),
        (("--channel", 0), "channel"),
        (("--weights", scratch / "uncalibrated"), "model_id"),
    ):
        code, _, err = command("score", scratch / "human.wav", *common, *option)
        assert (code, err.splitlines()[-1]) == (
            1,
            f"error: {out}: its scores are of another {told}; give another --output",
        )


def test_a_file_resumed_is_the_same_to_the_last_bit(command: Any, scratch: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    arguments = (scratch / "stereo.wav", scratch / "human.wav", "--weights", scratch / "weights", "--output", out)
    assert command("score", *arguments)[0] == 0
    whole = out.read_text()
    out.write_text("".join(whole.splitlines(keepends=True)[:2]))
    # One that is left of a job of two is scored in a batch of two.
    assert command("score", *arguments, "--resume")[0] == 0
    assert out.read_text() == whole


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--resume"], "--resume: needs --output with the format jsonl or csv"),
        (["--resume", "--output", "x.json"], "--resume: needs --output with the format jsonl or csv"),
        (["--output", "x.txt"], "a table is for reading"),
        (["--output", "x.csv", "--format", "table"], "a table is for reading"),
        (["--resume", "--output", "x.csv", "-"], "standard input cannot be told from another one"),
        (["--channel", "each", "-"], "--channel each: standard input can be read once only; write it to a file"),
        (["--channel", "both"], "--channel both: give a channel, counted from 0, or each"),
    ],
)
def test_options_that_do_not_go_together(command: Any, scratch: Path, options: list[str], reason: str) -> None:
    code, out, err = command("score", scratch / "human.wav", "--weights", scratch / "weights", *options)
    assert (code, out) == (2, "")
    assert reason in err
    assert not Path("x.csv").exists()
