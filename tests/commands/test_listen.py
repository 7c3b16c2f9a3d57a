"""`aasist-jax listen`, as a process and within this one."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aasist_jax.commands.listen import event_line, rehearse
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.live import live_events
from aasist_jax.detection.live_input import READ_BYTES
from tests.commands.over_time import assert_scores, run_process, samples, write_talk
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talk(tmp_path_factory.mktemp("listen"))


@pytest.fixture
def listen(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs `aasist-jax listen` in this process on bytes that stand in a file."""

    def run(raw: bytes, *options: object) -> tuple[int, str, str]:
        (tmp_path / "raw").write_bytes(raw)
        with (tmp_path / "raw").open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            found: tuple[int, str, str] = command("listen", *options)
        return found

    return run


def test_listening_to_standard_input(scratch: Path) -> None:
    """The verdict at the end is that of a file of the same samples."""
    wave = samples(scratch)
    expected = Detector.from_pretrained(scratch / "human").timeline((wave, 16_000), hop=0.2875)
    for encoding, data in (("s16le", (wave * 32768).astype("<i2")), ("f32le", wave.astype("<f4"))):
        raw = np.repeat(data[:, None], 2, axis=1).tobytes()
        options = ("--channels", 2, "--encoding", encoding, "--format", "jsonl", "--weights", scratch / "human")
        done = run_process("listen", *options, input=raw)
        assert (done.returncode, done.stderr) == (0, b"listening; Ctrl-C ends it\n")
        *windows, verdict = [json.loads(line) for line in done.stdout.splitlines()]
        assert {event["type"] for event in windows} == {"window"}
        assert_scores(windows, expected)
        assert verdict["type"] == "verdict"
        assert verdict["label"] == expected.score.label == "human"
        assert verdict["p_synthetic"] == pytest.approx(expected.score.p_synthetic, rel=1e-4)
        assert verdict["heard_seconds"] == expected.score.heard_seconds
        assert [(s["start"], s["end"], s["label"]) for s in verdict["segments"]] == [
            (s.start, s.end, s.label) for s in expected.segments
        ]


def test_an_alarm_is_raised_once_and_the_exit_code_tells_it(scratch: Path, listen: Any) -> None:
    raw = (samples(scratch) * 32768).astype("<i2").tobytes()
    options = ("--weights", scratch / "synthetic", "--format", "jsonl", "--fail-on-synthetic")
    code, out, _ = listen(raw, *options)
    assert code == 4
    events = [json.loads(line) for line in out.splitlines()]
    alarms = [event for event in events if event["type"] == "alarm"]
    assert len(alarms) == 1
    # Not before there is a second of speech, and no later than with the first read that brings it.
    assert 1 < alarms[0]["raised"] <= READ_BYTES / 2 / 16_000
    assert alarms[0]["p_synthetic"] >= 0.9
    assert events[-1]["label"] == "synthetic"
    assert events[events.index(alarms[0]) - 1]["verdict"] == "synthetic"


def test_lines_for_people(scratch: Path) -> None:
    for weights, verdict in (("synthetic", "synthetic"), ("human", "human"), ("uncalibrated", "unsure")):
        stream = Detector.from_pretrained(scratch / weights).stream(hop=0.2875)
        lines = [event_line(event) for event in live_events(stream, np.array_split(samples(scratch), 11))]
        text = "\n".join(lines)
        assert text.count("ALARM: synthetic, P(synthetic) 0.9") == (verdict == "synthetic")
        assert lines[0].split()[2:] == [lines[0].split()[2], "so", "far", "unsure"]
        assert f"--- 00:00.0 to {'' if verdict == 'unsure' else '0'}" in text
        assert text.splitlines()[-1].startswith(f"=== {verdict}. ")


def test_without_a_calibration_a_line_says_what_mends_it(scratch: Path, listen: Any) -> None:
    raw = (samples(scratch)[:20_000] * 32768).astype("<i2").tobytes()
    code, _, err = listen(raw, "--weights", scratch / "uncalibrated")
    assert code == 0
    warning, listening = err.splitlines()
    assert warning.startswith(f"warning: {scratch / 'uncalibrated'}: not calibrated, so every verdict is unsure; ")
    assert listening == "listening; Ctrl-C ends it"


@pytest.mark.parametrize("exact", [False, True])
def test_nothing_is_compiled_once_it_listens(scratch: Path, exact: bool) -> None:
    detector = Detector.from_pretrained(scratch / "human")
    programs: tuple[Any, ...] = (detector._read_out, detector._encode, detector._classify)
    rehearse(detector, detector.stream(16_000, hop=0.2875, exact=exact), 16_000)
    compiled = [program._cache_size() for program in programs]
    stream = detector.stream(16_000, hop=0.2875, exact=exact)
    for chunk in np.split(samples(scratch)[:24_000], 15):
        stream.push(chunk)
    assert any(window.logits is not None for window in stream.result().windows)
    assert [program._cache_size() for program in programs] == compiled


def test_listening_tells_half_a_sample(scratch: Path, listen: Any) -> None:
    code, _, err = listen(bytes(8001), "--weights", scratch / "human")
    assert code == 1
    assert "error: standard input: ends 1 bytes into a sample of 2; check --encoding and --channels" in err


def test_an_interruption_ends_listening_in_order(scratch: Path) -> None:
    """Windows come while the sound does; the first Ctrl-C ends with the verdict on what was heard."""
    line = [
        *(sys.executable, "-m", "aasist_jax.commands.app", "listen"),
        *("--weights", str(scratch / "human"), "--format", "jsonl"),
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, cwd=REPOSITORY, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == b"listening; Ctrl-C ends it\n"
        wave = (samples(scratch)[:32_000] * 32_768).astype("<i2").tobytes()
        process.stdin.write(wave[:40_001])
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["type"] == "window"
        process.stdin.write(wave[40_001:])
        process.stdin.flush()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        rest = [json.loads(event) for event in process.stdout]
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""
    assert rest[-1]["type"] == "verdict"
    assert rest[-1]["label"] == "human"
    assert rest[-1]["segments"][-1]["end"] == rest[-1]["seconds"] == 2.0
