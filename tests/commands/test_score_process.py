"""`aasist-jax score` as people run it: killed and started again, at a terminal, in a pipe."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.commands.test_score_start_and_end import TOY_MAIN
from tests.commands.toy_recordings import save_calibrated_toy
from tests.conftest import REPOSITORY
from tests.made_speech import made_speech
from tests.models import toy

FILES = 400


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the toy, and a folder of many short recordings, some of them bad, under names of all kinds."""
    scratch = tmp_path_factory.mktemp("process")
    rng, voice = np.random.default_rng(0), made_speech(10.0)
    with toy.registered():
        save_calibrated_toy(scratch / "weights")
    (scratch / "clips").mkdir()
    for index in range(FILES):
        name = f"{index:03}" + (" a", "\n", "", ",")[index % 4] + ".wav"
        start = rng.integers(80_000)
        soundfile.write(scratch / "clips" / name, voice[start : start + 16_000 + 10 * index], 16_000)
    for index in (7, 200):
        (scratch / "clips" / f"{index:03}-bad.wav").write_bytes(b"no audio")
    return scratch


def command(scratch: Path, *arguments: object) -> list[str]:
    return [
        *(sys.executable, "-c", TOY_MAIN, "score", "--weights", str(scratch / "weights")),
        *map(str, arguments),
    ]


def run(scratch: Path, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(scratch, *arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=300, **options
    )


@pytest.fixture(scope="module")
def whole(scratch: Path) -> dict[str, bytes]:
    """The files of scores of runs that nobody disturbed."""
    written = {}
    for format in ("csv", "jsonl"):
        done = run(scratch, scratch / "clips", "--output", scratch / f"whole.{format}")
        assert done.returncode == 3, done.stderr
        written[format] = (scratch / f"whole.{format}").read_bytes()
    return written


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_killed_and_started_again_it_ends_as_if_never_killed(
    scratch: Path, whole: dict[str, bytes], tmp_path: Path, format: str
) -> None:
    out = tmp_path / f"scores.{format}"
    sizes = [0]
    for share in (0.1, 0.5):
        process = subprocess.Popen(
            command(scratch, scratch / "clips", "--output", out, "--resume"), cwd=REPOSITORY, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not out.exists() or out.stat().st_size < share * len(whole[format]):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
        process.wait()
        sizes.append(out.stat().st_size)
        # Killed in the midst of a write, too.
        with out.open("ab") as file:
            file.write(whole[format][sizes[-1] : sizes[-1] + 10])
    assert sizes[0] < sizes[1] < sizes[2] < len(whole[format]), sizes
    done = run(scratch, scratch / "clips", "--output", out, "--resume")
    assert out.read_bytes() == whole[format]
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith(f"{out}: {FILES + 2} recordings: ")


def test_standard_input_is_a_recording(scratch: Path) -> None:
    clip = scratch / "clips" / "002.wav"
    with clip.open("rb") as file:
        done = run(scratch, "-", clip, "--format", "jsonl", stdin=file)
    piped, named = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert piped == named | {"file": "-"}
    done = run(scratch, "-", input="no audio")
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard input: not audio that can be decoded")


def test_a_stop_does_not_wait_for_standard_input(scratch: Path, tmp_path: Path) -> None:
    """Nor does what comes before it, be it less than a batch."""
    endless, writer = os.pipe()
    clips = (scratch / "clips" / "002.wav", tmp_path / "none.wav")
    process = subprocess.Popen(
        command(scratch, "--stop-on-error", *clips, "-", "--format", "jsonl"),
        cwd=REPOSITORY,
        stdin=endless,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        printed, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        os.close(endless)
        os.close(writer)
    assert process.returncode == 1
    assert [json.loads(line)["status"] for line in printed.splitlines()] == ["ok", "error"]
    assert errors == f"error: {clips[1]}: no such file; give the path of an audio file\n"


def at_terminal(
    scratch: Path,
    *arguments: object,
    stdin: int | None = None,
    stdout: int | None = None,
    interrupt_at: str = "\0",
) -> tuple[int, str]:
    """Exit code and what a terminal of 100 columns shows on standard error, and on standard output unless given.

    Ctrl-C comes when the terminal shows `interrupt_at`.
    """
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        command(scratch, *arguments),
        cwd=REPOSITORY,
        stdin=side if stdin is None else stdin,
        stdout=side if stdout is None else stdout,
        stderr=side,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(side)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1 << 16)
        except OSError:  # the other side is closed
            break
        if interrupt_at.encode() in shown:
            interrupt_at = "\0"
            process.send_signal(signal.SIGINT)
    os.close(terminal)
    return process.wait(), shown.decode()


def test_progress_is_shown_at_a_terminal_and_stays_out_of_the_results(scratch: Path, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        code, shown = at_terminal(scratch, scratch / "clips", "--format", "jsonl", stdout=file.fileno())
    assert code == 3
    assert f"/{FILES + 2}" in shown
    assert "Scoring" in shown
    # Beside a bar, a line longer than the terminal is wrapped between words.
    assert "not audio that can be decoded" in " ".join(shown.split())
    lines = (tmp_path / "out").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines].count("ok") == FILES
    # Rows that run down the terminal are progress enough.
    code, shown = at_terminal(scratch, scratch / "clips" / "002.wav", "--format", "jsonl")
    assert (code, "Scoring" in shown) == (0, False)
    assert json.loads(shown)["status"] == "ok"


def test_a_terminal_is_no_recording(scratch: Path) -> None:
    code, shown = at_terminal(scratch, "-")
    assert code == 1
    assert "standard input: is a terminal; pipe an audio file into the command" in shown


@pytest.mark.parametrize("format", ["table", "json"])
def test_what_was_scored_is_printed_though_interrupted(scratch: Path, tmp_path: Path, format: str) -> None:
    endless, writer = os.pipe()
    clips = sorted((scratch / "clips").glob("[0-9][0-9][0-9].wav"))[:24]
    with (tmp_path / "out").open("w") as file:
        # Standard input, which comes last, does not end.
        code, shown = at_terminal(
            *(scratch, *clips, "-", "--format", format),
            stdin=endless,
            stdout=file.fileno(),
            interrupt_at="24/25",
        )
    os.close(endless)
    os.close(writer)
    assert code == -signal.SIGINT
    assert shown.count("error: interrupted") == 1
    printed = (tmp_path / "out").read_text()
    if format == "json":
        assert [row["file"] for row in json.loads(printed)] == list(map(str, clips))
    else:
        assert sum(printed.count(f"  {label}  ") for label in ("human", "unsure", "synthetic")) == 24
