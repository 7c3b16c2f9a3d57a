"""`aasist-jax score --segments`, `--plot` and `aasist-jax listen`, as processes and at their edges."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

from aasist_jax.audio.load import load_audio
from aasist_jax.commands import listen
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.timeline import Rule, Timeline
from aasist_jax.detection.timeline_plot import COLUMNS, FFT, HOP, Overview
from aasist_jax.errors import AudioError
from aasist_jax.weights.folder import Source, save_weights
from tests.conftest import REPOSITORY
from tests.models.aasist.tiny import CONFIG, random_variables


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the tiny model, and a recording: noise that comes and goes, then silence."""
    folder = tmp_path_factory.mktemp("timeline")
    save_weights(folder / "weights", CONFIG, random_variables(), Source("tiny.pth", "0"))
    rng = np.random.default_rng(0)
    gain = np.repeat(rng.choice([0.01, 0.1, 0.3], 8), 10_000)
    wave = np.concatenate([rng.normal(size=80_000) * gain, np.zeros(20_000)])
    soundfile.write(folder / "call.wav", np.clip(wave, -1, 1), 16_000)
    return folder


def command(*arguments: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    line = [sys.executable, "-m", "aasist_jax.commands.cli", *map(str, arguments)]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, timeout=300, **options)


def assert_scores(found: list[dict[str, Any]], expected: Timeline) -> None:
    """Of another process; None where nothing was judged."""
    scores, others = (
        [np.nan if s is None else s for s in scores]
        for scores in ([window["score"] for window in found], [window.score for window in expected.windows])
    )
    np.testing.assert_allclose(scores, others, rtol=1e-5)


def test_segments_and_plot_of_a_file(scratch: Path, tmp_path: Path) -> None:
    files = tmp_path / "call.json", tmp_path / "call.png"
    done = command(
        *("score", scratch / "call.wav", "--weights", scratch / "weights", "--vad", "--threshold", -5),
        *("--segments", files[0], "--plot", files[1], "--hop", 0.25, "--hysteresis", 2, "--min-spoof", 1),
    )
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(files[0].read_text())
    timeline = Detector.from_pretrained(scratch / "weights").timeline(
        scratch / "call.wav", hop=0.25, vad=True, rule=Rule(-7.0, -3.0, 1.0)
    )
    assert document["hop"] == timeline.hop == 2 * 2187 / 16_000
    assert document["verdict"]["label"] == timeline.verdict.label
    assert f"call.wav: {timeline.verdict.label};".encode() in done.stdout.replace(b"\n", b"")
    assert len(document["windows"]) == len(timeline.windows) == 23
    assert_scores(document["windows"], timeline)
    assert document["windows"][-1] == {**document["windows"][-1], "status": "silent", "score": None}
    picture = imread(files[1])
    assert picture.shape[0] > 500
    # Something of every part is drawn: no row of the middle column band is blank over its whole width.
    assert np.ptp(picture[:, 100:-20, :3], axis=(1, 2)).max() > 0.5


def test_csv_and_the_exact_mode(scratch: Path, tmp_path: Path) -> None:
    path = tmp_path / "call.csv"
    options = ("--weights", scratch / "weights", "--segments", path, "--exact", "--format", "jsonl")
    done = command("score", scratch / "call.wav", *options)
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    assert document["exact"] is True
    assert document["hop"] == CONFIG.nb_samp / 2 / 16_000
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["end"]) for row in rows] == [segment["end"] for segment in document["segments"]]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["a.wav", "--segments", "b.txt"], 1, "error: b.txt: written as .json or .csv"),
        (["a.wav", "--plot", "b.pdf"], 1, "error: b.pdf: written as .png"),
        (["a.wav", "--segments", "b.json", "--hop", "9"], 1, "error: hop: expected more than 0 and at most"),
        (["a.wav", "--segments", "b.json", "--threshold", "nan"], 1, "error: thresholds: expected"),
        (["a.wav", "--segments", "b.json"], 1, "error: a.wav: no such file"),
        (["a.wav", "c.wav", "--segments", "b.json"], 2, "take one recording at a time"),
        (["a.wav", "--vad"], 2, "--vad: only with --segments or --plot"),
        (["a.wav", "--min-spoof", "2"], 2, "--min-spoof: only with --segments or --plot"),
        (["a.wav", "--segments", "b.json", "--out", "c.csv"], 2, "--out: not with --segments or --plot"),
        (["a.wav", "--plot", "b.png", "--windows", "all"], 2, "--windows: not with --segments or --plot"),
        (["a.wav", "--segments", "nowhere/b.json"], 1, "error: nowhere/b.json: there is no folder nowhere"),
    ],
)
def test_wrong_use_is_one_line(
    scratch: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    complaint: str,
) -> None:
    from aasist_jax.commands.cli import main

    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["aasist-jax", "score", *arguments, "--weights", str(scratch / "weights")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == code
    assert complaint in capsys.readouterr().err
    assert not Path("b.json").exists()


def test_a_spoof_over_time_fails_where_asked(scratch: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.wav"
    shutil.copyfile(scratch / "call.wav", name)
    options = ["--weights", str(scratch / "weights"), "--segments", str(tmp_path / "call.JSON")]
    line = [sys.executable, "-m", "aasist_jax.commands.cli", "score", name, *options, "--fail-on-spoof", "--threshold"]
    codes = {}
    for threshold in ("1e9", "-1e9"):
        done = subprocess.run([*line, threshold], cwd=REPOSITORY, capture_output=True, timeout=300)
        assert b"Traceback" not in done.stderr
        label = json.loads((tmp_path / "call.JSON").read_text())["verdict"]["label"]
        codes[label] = done.returncode
    assert codes == {"spoof": 4, "bonafide": 0}


def test_what_came_before_a_fault_is_told_to_its_end(scratch: Path) -> None:
    wave = load_audio(scratch / "call.wav")[:32_000]

    def chunks() -> Iterator[np.ndarray]:
        yield wave
        raise AudioError("the line is dead")

    detector, events = Detector.from_pretrained(scratch / "weights"), []
    with pytest.raises(AudioError, match="the line is dead"):
        events.extend(listen.live_events(detector.stream(), chunks(), Rule()))
    assert events == list(listen.live_events(detector.stream(), [wave], Rule()))
    assert events[-1].end == 2.0


def test_listening_to_standard_input(scratch: Path) -> None:
    wave = load_audio(scratch / "call.wav")
    expected = Detector.from_pretrained(scratch / "weights").timeline((wave, 16_000), hop=0.2875)
    for encoding, data in (("s16le", (wave * 32768).astype("<i2")), ("f32le", wave.astype("<f4"))):
        raw = np.repeat(data[:, None], 2, axis=1).tobytes()
        options = ("--channels", 2, "--encoding", encoding, "--format", "jsonl", "--weights", scratch / "weights")
        done = command("listen", *options, input=raw)
        assert (done.returncode, done.stderr) == (0, b"listening; Ctrl-C ends it\n")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert_scores([event for event in events if event["type"] == "window"], expected)
        segments = [event for event in events if event["type"] == "segment"]
        assert [(s["start"], s["end"], s["label"]) for s in segments] == [
            (s.start, s.end, s.label) for s in expected.segments
        ]


def test_listening_tells_half_a_sample(scratch: Path) -> None:
    done = command("listen", "--weights", scratch / "weights", input=bytes(8001))
    assert done.returncode == 1
    assert b"error: standard input: ends 1 bytes into a sample of 2; check --encoding and --channels" in done.stderr


def test_an_interruption_ends_listening_in_order(scratch: Path) -> None:
    """Windows come while the sound does; the first Ctrl-C ends the last segment and the command."""
    line = [
        sys.executable,
        "-m",
        "aasist_jax.commands.cli",
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


def test_alarms_come_once_in_a_segment_and_before_it_ends(scratch: Path) -> None:
    wave = load_audio(scratch / "call.wav")
    detector = Detector.from_pretrained(scratch / "weights")
    margins = [window.margin for window in detector.timeline((wave, 16_000)).windows if window.margin is not None]
    middle = float(np.median(margins))
    rule = Rule(middle, middle, 0.5)
    events = list(listen.live_events(detector.stream(), np.array_split(wave, 20), rule))
    alarms = [i for i, event in enumerate(events) if isinstance(event, listen.Alarm)]
    segments = [event for event in events if not isinstance(event, listen.Alarm | listen.Judged)]
    assert alarms
    for i in alarms:
        following = next(e for e in events[i:] if not isinstance(e, listen.Alarm | listen.Judged))
        assert following.label == "spoof"
        assert following.start == events[i].start
        assert events[i].raised - events[i].start >= 0.5
    assert len(alarms) == sum(segment.label == "spoof" and segment.lasting >= 0.5 for segment in segments)


class Microphones(types.ModuleType):
    """As much of sounddevice as is used: a device that hands over ten chunks, and one that does not exist."""

    class PortAudioError(Exception):
        pass

    class InputStream:
        def __init__(self, rate: int, block: int, *, device: Any, channels: int, dtype: str, callback: Any) -> None:
            if device == 7:
                raise Microphones.PortAudioError("Error querying device 7")
            assert (dtype, device) == ("float32", "USB")
            self.chunk, self.callback = np.zeros((block, channels), np.float32), callback

        def __enter__(self) -> None:
            for i in range(10):
                self.chunk[:] = i  # the device uses its buffer again
                self.callback(self.chunk, len(self.chunk), None, None)

        def __exit__(self, *_: object) -> None:
            pass


def test_a_microphone_hands_over_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Microphones("sounddevice"))
    chunks: list[np.ndarray] = []
    for chunk in listen.microphone(48_000, 2, "USB", lambda: len(chunks) == 10):
        chunks.append(chunk)
    assert [chunk.shape for chunk in chunks] == [(4800, 2)] * 10
    assert [chunk[0, 0] for chunk in chunks] == list(range(10))
    with pytest.raises(AudioError, match="--microphone: Error querying device 7"):
        next(listen.microphone(48_000, 2, "7", lambda: False))
    monkeypatch.setattr(listen, "MICROPHONE_BACKLOG", 5)
    with pytest.raises(AudioError, match="too slow"):
        next(listen.microphone(48_000, 2, "USB", lambda: False))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match=r"pip install 'aasist-jax\[microphone\]'"):
        next(listen.microphone(48_000, 2, None, lambda: False))


def test_the_overview_is_bounded_and_loses_no_peak() -> None:
    rng = np.random.default_rng(0)
    wave = (rng.normal(size=2_000_000) * 0.01).astype(np.float32)
    peaks = [123, 600_000, 1_999_999]
    wave[peaks] = 0.9
    overview, whole = Overview(), Overview()
    whole.push(wave)
    for piece in np.split(wave, np.sort(rng.integers(0, wave.size, 200))):
        overview.push(piece)
    low, high, decibels = overview.columns()
    for one, other in zip((low, high, decibels), whole.columns(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)
    assert COLUMNS <= high.size < 2 * COLUMNS
    assert decibels.shape == (FFT // 2 + 1, high.size)
    assert overview.seconds == wave.size / 16_000
    # Columns of equal length from the start on: every peak is where it belongs.
    width = round(overview.column_seconds * 16_000)
    assert width % HOP == 0
    assert np.flatnonzero(high == np.float32(0.9)).tolist() == [peak // width for peak in peaks]
    np.testing.assert_allclose(low[:-1], wave[: (low.size - 1) * width].reshape(-1, width).min(axis=1))


def test_the_overview_shows_a_tone_at_its_frequency() -> None:
    overview = Overview()
    overview.push(np.sin(2 * np.pi * 2000 * np.arange(16_000) / 16_000).astype(np.float32))
    assert overview.columns()[2][:, 20].argmax() == 2000 * FFT // 16_000
    assert Overview().columns()[0].size == 0
