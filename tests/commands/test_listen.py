"""`aasist-jax listen`, as a process."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.audio.load import load_audio
from aasist_jax.detection.detector import Detector
from tests.commands.over_time import assert_scores, run_process
from tests.conftest import REPOSITORY
from tests.detection.call import write_call


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_call(tmp_path_factory.mktemp("listen"))


def test_listening_to_standard_input(scratch: Path) -> None:
    wave = load_audio(scratch / "call.wav")
    expected = Detector.from_pretrained(scratch / "weights").timeline((wave, 16_000), hop=0.2875)
    for encoding, data in (("s16le", (wave * 32768).astype("<i2")), ("f32le", wave.astype("<f4"))):
        raw = np.repeat(data[:, None], 2, axis=1).tobytes()
        options = ("--channels", 2, "--encoding", encoding, "--format", "jsonl", "--weights", scratch / "weights")
        done = run_process("listen", *options, input=raw)
        assert (done.returncode, done.stderr) == (0, b"listening; Ctrl-C ends it\n")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert_scores([event for event in events if event["type"] == "window"], expected)
        segments = [event for event in events if event["type"] == "segment"]
        assert [(s["start"], s["end"], s["label"]) for s in segments] == [
            (s.start, s.end, s.label) for s in expected.segments
        ]


def test_listening_tells_half_a_sample(scratch: Path) -> None:
    done = run_process("listen", "--weights", scratch / "weights", input=bytes(8001))
    assert done.returncode == 1
    assert b"error: standard input: ends 1 bytes into a sample of 2; check --encoding and --channels" in done.stderr


def test_an_interruption_ends_listening_in_order(scratch: Path) -> None:
    """Windows come while the sound does; the first Ctrl-C ends the last segment and the command."""
    line = [
        sys.executable,
        "-m",
        "aasist_jax.commands.app",
        "listen",
        "--weights",
        str(scratch / "weights"),
        "--format",
        "jsonl",
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, cwd=REPOSITORY, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == b"listening; Ctrl-C ends it\n"
        wave = (load_audio(scratch / "call.wav")[:32_000] * 32_768).astype("<i2").tobytes()
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
    assert rest[-1]["type"] == "segment"
    assert rest[-1]["end"] == 2.0
