"""Progress and messages: lines where there is no terminal, bars where there is one, nothing in quiet."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from aasist_jax.runtime import progress
from aasist_jax.runtime.messages import be_quiet, print_error, print_warning, say
from aasist_jax.runtime.progress import BYTES, Progress, with_progress
from aasist_jax.training.reporting import Reporter
from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    yield
    be_quiet(False)


def test_a_task_is_told_as_it_begins_and_as_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(lines="begin and end") as shown:
        for done in (0, 500_000, 3_000_000, 3_000_000):
            shown.update("download", done, 3_000_000, unit=BYTES)
        for done in range(3):
            shown.update("unpack", done, 2, unit="packages")
    lines = capsys.readouterr().err.splitlines()
    assert [line.rsplit(" in ")[0] for line in lines] == [
        "download ...",
        "download: 3 MB",
        "unpack ...",
        "unpack: 2 packages",
    ]


def test_a_long_task_is_told_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Progress(lines="now and then") as shown:
        for done in range(25):
            shown.update("scoring", done, 25)
            now += 1
    assert capsys.readouterr().err.split() == ["scoring", "0/25", "scoring", "11/25", "scoring", "22/25"]


def test_no_rate_is_told_before_there_is_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The progress of training, `0.0 clips/s` at every start of an epoch: no figure until there is one."""
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    with Reporter() as reporter:
        reporter.start(0, 9)
        reporter.step(1, 9, 0.5, None)
        reporter.step(2, 9, 0.25, 12.345)
        reporter.step(3, 9, 0.25, 0.0123)
    assert [line.rstrip() for line in capsys.readouterr().err.splitlines()] == [
        "training 0/9",
        "training 1/9  loss 0.5000",
        "training 2/9  loss 0.2500  12.3 clips/s",
        "training 3/9  loss 0.2500  0.012 clips/s",
    ]


def test_quiet_silences_news_and_progress_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    be_quiet(True)
    say("news")
    with Progress(lines="begin and end") as shown, Reporter() as reporter:
        shown.update("task", 1, 1)
        shown.say("news")
        reporter.say("news")
    assert list(with_progress("ab", description="letters", total=2)) == ["a", "b"]
    assert capsys.readouterr().err == ""
    print_warning("a warning\x1b[31m")
    print_error("an error\x1b[31m")
    assert capsys.readouterr().err == "warning: a warning\\x1b[31m\nerror: an error\\x1b[31m\n"


BARS = """
from aasist_jax.runtime.progress import Progress
with Progress() as shown:
    for done in range(5, 9):
        shown.update('first', done, 8, unit='clips')
    shown.end('first')
    shown.say('between')
    shown.update('second', 1, None, note='a note')
"""


SAY = """
from aasist_jax.runtime.messages import say
from aasist_jax.runtime.progress import Progress
shown = Progress()
shown.say('a')
shown.say('b')
say('c')
print('done')
"""


def test_bars_on_a_terminal() -> None:
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-c", BARS], stderr=theirs, env=environment, cwd=REPOSITORY, timeout=120)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0
    for text in ("first", "5/8 clips", "between", "second", "a note"):
        assert text in shown
    assert "0.0/s" not in shown


def test_progress_outlives_its_reader() -> None:
    """Where nobody reads standard error any more, the work goes on."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", SAY],
        stdout=subprocess.PIPE,
        stderr=write,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        cwd=REPOSITORY,
        text=True,
        timeout=120,
    )
    os.close(write)
    assert (done.returncode, done.stdout) == (0, "done\n")
