"""The child process: where the program comes from, what it is held to, and that it is gone afterwards."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aasist_jax.audio import ffmpeg as door
from aasist_jax.audio.ffmpeg_process import PROGRAM_VARIABLE, ChildLimits, find_ffmpeg, reason
from aasist_jax.audio.load import load_audio
from aasist_jax.errors import AudioError
from tests.audio.recordings import m4a, needs_ffmpeg, voice
from tests.conftest import REPOSITORY, extra

ADTS = b"\xff\xf1\x60\x40\x01\x7f\xfc" + bytes(4)
"""The start of a frame of bare AAC: enough for the door to ask FFmpeg."""

AU_HEADER = r"\056snd\000\000\000\030\377\377\377\377\000\000\000\006\000\000\076\200\000\000\000\001"
"""Float samples, mono at 16 kHz, for `printf`."""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a shell script in the place of ffmpeg."""

    def write(script: str) -> Path:
        path = tmp_path / "fake ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv(PROGRAM_VARIABLE, str(path))
        return path

    return write


def refused(match: str) -> str:
    with pytest.raises(AudioError, match=match) as caught:
        load_audio(io.BytesIO(ADTS))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def held_to(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    monkeypatch.setattr(door, "CHILD_LIMITS", ChildLimits(**limits))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def commands() -> list[str]:
    """The command lines of all processes that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            if is_running(int(path.name)):
                found.append(line)
    return found


def test_the_environment_names_a_program(fake, monkeypatch: pytest.MonkeyPatch) -> None:
    script = fake("exit 1")
    assert find_ffmpeg("a") == str(script)
    monkeypatch.setenv(PROGRAM_VARIABLE, "/no/such/program")
    with pytest.raises(AudioError, match="AASIST_JAX_FFMPEG is '/no/such/program', which is no program"):
        find_ffmpeg("a")


def test_the_path_comes_before_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imageio_ffmpeg = extra("imageio_ffmpeg", "ffmpeg")
    monkeypatch.delenv(PROGRAM_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg("a") == imageio_ffmpeg.get_ffmpeg_exe()
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    assert find_ffmpeg("a") == str(tmp_path / "ffmpeg")


@pytest.mark.parametrize("kind", ["ipod", "adts"])
def test_without_ffmpeg_one_line_says_how_to_get_it(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_ffmpeg()
    data = m4a(voice(1.0), kind=kind)
    monkeypatch.delenv(PROGRAM_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(AudioError, match=r"apt install ffmpeg, or pip install 'aasist-jax\[ffmpeg\]'") as caught:
        load_audio(io.BytesIO(data))
    assert str(caught.value).startswith(f"audio stream: {'AAC' if kind == 'adts' else 'M4A'} needs the program ffmpeg")


def test_an_ffmpeg_that_lacks_what_is_asked_for_is_told_apart_from_a_damaged_file(fake) -> None:
    fake("echo \"Unrecognized option 'reinit_filter'.\" >&2; exit 1")
    refused("this ffmpeg cannot be used .Unrecognized option 'reinit_filter'.; install version 5.1")


@pytest.mark.parametrize("before", ["", f"printf '{AU_HEADER}';", "yes >&2 &"], ids=["mute", "header", "chatter"])
def test_one_that_hangs_is_killed_with_all_that_it_started(before: str, fake, monkeypatch: pytest.MonkeyPatch) -> None:
    held_to(monkeypatch, silent_seconds=1.0)
    endless = f"sleep 1{os.getpid()}"
    fake(f"{before} {endless} & {endless}")
    start = time.monotonic()
    refused("ffmpeg gave nothing for 1 s and was stopped")
    assert time.monotonic() - start < 30
    assert commands().count(endless) == 0
    with subprocess.Popen(endless.split()) as same:
        assert commands().count(endless) == 1
        same.kill()


def test_one_that_computes_for_ever_is_killed(fake, monkeypatch: pytest.MonkeyPatch) -> None:
    held_to(monkeypatch, cpu_seconds=1)
    fake("while :; do :; done")
    refused("ffmpeg was killed, by its limit of 1 s of processor time")


def test_one_that_crashes_is_told(fake) -> None:
    fake("kill -SEGV $$")
    refused("ffmpeg crashed .signal 11.")


def test_it_is_held_to_limits_from_the_start(fake, monkeypatch: pytest.MonkeyPatch) -> None:
    held_to(monkeypatch, memory_bytes=300 << 20, cpu_seconds=77)
    fake('sleep 0.3; echo "[error] $(ulimit -d) $(ulimit -t) $(ulimit -f) $(ulimit -c)" >&2; exit 1')
    refused(f"{300 << 10} 77 0 0")


def test_it_knows_nothing_of_this_process(fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """No input, no secrets, a process group of its own, and no descriptor but the recording's."""
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    os.write(writing, b"a line\n")
    standard_input = os.dup(0)
    os.dup2(reading, 0)
    fake(
        'read -r line && echo "[error] input" >&2\n'
        'echo "[error] $(env | sort | cut -d= -f1 | tr "\\n" " ") fds $(ls /proc/$$/fd | tr "\\n" " ")" >&2; exit 1'
    )
    try:
        said = refused("LC_ALL")
    finally:
        os.dup2(standard_input, 0)
        os.close(standard_input)
        os.close(reading)
        os.close(writing)
    assert "SECRET" not in said
    assert "input" not in said
    descriptors = said.partition("fds ")[2].split(")")[0].split()
    assert {"0", "1", "2"} < set(descriptors)
    assert str(writing) not in descriptors


def test_what_it_says_is_kept_in_part_and_blocks_nothing(fake) -> None:
    fake("echo '[error] the first' >&2; yes '[error] more' | head -c 3000000 >&2; exit 1")
    said = refused("the first")
    assert len(said) < 400


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("echo nonsense, and more than enough of it", "ffmpeg gives something else than the samples"),
        ("exit 0", "holds no samples"),
        (f"printf '{AU_HEADER}'", "holds no samples at 16000 Hz"),
        (f"printf '{AU_HEADER}'; printf abcdef", "ffmpeg stopped amid a sample"),
        (f"printf '{AU_HEADER}'; printf abcd; exit 3", r"damaged or truncated \(no reason given\)"),
        (f"printf '{AU_HEADER}'; printf '\\177\\300\\000\\000'", "NaN or infinite"),
    ],
)
def test_output_that_is_not_as_asked_for(script: str, match: str, fake) -> None:
    fake(script)
    refused(match)


def test_a_reason_is_one_short_printable_line() -> None:
    assert reason("[x @ 0x1] [info] a\n[aac @ 0x2] [error] [b] Bad \x1b[31mdata.\n[error] c") == "Bad ?[31mdata"
    assert len(reason("[error] " + "x" * 5000)) == 200
    assert reason("") == "no reason given"


def test_it_ends_with_a_reader_that_is_killed(tmp_path: Path) -> None:
    needs_ffmpeg()
    path = tmp_path / "a.m4a"
    path.write_bytes(m4a(voice(120.0)))
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom aasist_jax.audio.load import iter_audio\n"
        "blocks = iter_audio(sys.argv[1]); next(blocks)\n"
        "print(Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text(), flush=True)\ntime.sleep(300)"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        child = int(reader.stdout.readline())
        assert is_running(child)
        reader.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(child)
