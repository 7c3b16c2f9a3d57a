"""Streams that are closed: by a reader that leaves at once, as `| head` does, or before the start, as by `>&-`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aasist_jax.commands import exit_codes
from tests.commands.test_score_start_and_end import TOY_MAIN
from tests.commands.toy_recordings import make_scratch
from tests.conftest import REPOSITORY
from tests.models import toy


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy, recordings, and the scores and keys of a system."""
    with toy.registered():
        folder = make_scratch(tmp_path_factory.mktemp("pipes"))
    random = np.random.default_rng(0)
    rows = [(f"u{i}", "-" if i % 2 else f"A{i % 6}", "bonafide" if i % 2 else "spoof") for i in range(60)]
    lines = [f"{' '.join(row)} {random.normal(2.0 * (row[2] == 'bonafide'))}\n" for row in rows]
    (folder / "scores.txt").write_text("".join(lines))
    return folder


PROGRAM = (sys.executable, "-c", TOY_MAIN)


def run(*arguments: object, closed: str = "stdout") -> subprocess.CompletedProcess[bytes]:
    """A command whose standard output, or standard error, goes to a pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {closed: write}
    line = [*PROGRAM, *map(str, arguments)]
    # As people have it: what is printed waits in a buffer, and fails only as that is written.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    try:
        return subprocess.run(line, cwd=REPOSITORY, env=environment, timeout=300, check=False, **streams)
    finally:
        os.close(write)


def test_metrics_writes_its_report_and_its_numbers(scratch: Path, tmp_path: Path) -> None:
    report, numbers = tmp_path / "report", tmp_path / "m.json"
    done = run(
        *("metrics", "--scores", scratch / "scores.txt", "--resamples", 5, "--report", report, "--json", numbers)
    )
    assert (done.returncode, done.stderr) == (exit_codes.FAILURE, f"report: {report}/report.html\n".encode())
    assert json.loads(numbers.read_text()) == json.loads((report / "metrics.json").read_text())
    assert {"report.html", "report.md", "det.svg"} <= set(os.listdir(report))


def test_timeline_writes_its_segments_and_its_picture(scratch: Path, tmp_path: Path) -> None:
    segments, plot = tmp_path / "s.json", tmp_path / "p.png"
    options = ("--weights", scratch / "weights", "--segments", segments, "--plot", plot)
    for format in ("table", "csv", "json"):
        done = run("timeline", scratch / "human.wav", *options, "--format", format)
        assert (done.returncode, done.stderr) == (exit_codes.FAILURE, b"")
        assert json.loads(segments.read_text())["segments"]
        assert plot.read_bytes().startswith(b"\x89PNG")
        segments.unlink()
        plot.unlink()


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_score_writes_every_row(scratch: Path, tmp_path: Path, closed: str) -> None:
    """Also where nobody reads what is said of a file that cannot be scored, and the summary."""
    out = tmp_path / "scores.jsonl"
    files = (scratch / "text.wav", scratch / "human.wav", scratch / "unsure.wav")
    done = run("score", *files, "--weights", scratch / "weights", "--output", out, closed=closed)
    assert done.returncode == exit_codes.SOME_FAILED
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["status"] for row in rows] == ["error", "ok", "ok"]


def test_quiet_leaves_errors_alone(scratch: Path, tmp_path: Path) -> None:
    files = (scratch / "text.wav", scratch / "human.wav")
    for number, before in enumerate((True, False)):
        options = ("--weights", scratch / "weights", "--output", tmp_path / f"{number}.jsonl")
        quiet = ("--quiet", "score", *files, *options) if before else ("score", *files, *options, "--quiet")
        done = subprocess.run([*PROGRAM, *map(str, quiet)], cwd=REPOSITORY, capture_output=True, timeout=300)
        assert done.returncode == exit_codes.SOME_FAILED
        assert done.stdout == b""
        assert done.stderr.startswith(b"error: ")
        assert done.stderr.count(b"\n") == 1


def closed_from_the_start(*arguments: object) -> tuple[int, bytes]:
    """Exit code and standard error of a command that is started without a standard output."""
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, *map(str, arguments)]
    done = subprocess.run(shell, cwd=REPOSITORY, stderr=subprocess.PIPE, timeout=300, check=False)
    return done.returncode, done.stderr


def test_a_standard_output_that_is_not_there_is_told_in_a_line(scratch: Path, tmp_path: Path) -> None:
    complaint = b"error: standard output: is closed, and the results have no place to go; redirect it to a file\n"
    options = ("score", scratch / "human.wav", "--weights", scratch / "weights")
    for arguments in ((*options, "--format", "csv"), options, ("models",), ("--version",)):
        assert closed_from_the_start(*arguments) == (exit_codes.FAILURE, complaint)
    out = tmp_path / "scores.csv"
    code, _ = closed_from_the_start(*options, "--output", out)
    assert code == 0
    assert len(out.read_text().splitlines()) == 2
