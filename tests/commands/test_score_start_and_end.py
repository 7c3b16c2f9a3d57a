"""How the process of `aasist-jax score` starts, what it imports, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aasist_jax.commands.app import run
from aasist_jax.detection.detector import Detector
from aasist_jax.weights.folder import Source, save_weights
from tests.blocked_imports import run_without
from tests.commands.toy_recordings import make_scratch
from tests.conftest import REPOSITORY
from tests.made_calibration import calibrate_by_hand
from tests.models.aasist.tiny import CONFIG, random_variables

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scratch(tmp_path_factory.mktemp("cli"))


def child(code_or_command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *code_or_command], cwd=REPOSITORY, capture_output=True, text=True, timeout=300, **options
    )


@pytest.fixture(scope="module")
def aasist_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny AASIST with random weights, calibrated, which a process of its own can load."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    return calibrate_by_hand(save_weights(folder, CONFIG, random_variables(), Source("tiny.pth", "0")))


def test_a_real_run_without_pytorch(aasist_folder: Path, scratch: Path) -> None:
    options = ("--weights", aasist_folder, "--format", "json")
    done = run_without(("torch",), "aasist_jax/__main__.py", "score", scratch / "stereo.wav", *options)
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads(done.stdout)
    result = Detector.from_pretrained(aasist_folder).score(scratch / "stereo.wav")
    assert row["score"] == pytest.approx(result.score, rel=1e-4)
    assert row["seconds"] == pytest.approx(1.5, abs=1e-3)
    assert row["label"] == result.label


def test_the_script_is_the_same_command(scratch: Path) -> None:
    done = child(["scripts/score.py", "none.wav", "--weights", str(scratch / "none")])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {scratch / 'none'}: ")
    assert done.stderr.count("\n") == 1


HELP = "import aasist_jax.commands.app as app; sys.argv = ['aasist-jax', *{}]\ntry: app.main()\nexcept SystemExit: pass"


@pytest.mark.parametrize("code", ["import aasist_jax", HELP.format(["--help"]), HELP.format(["score", "--help"])])
def test_a_start_imports_no_jax(code: str) -> None:
    heavy = "{'jax', 'jaxlib', 'flax', 'torch', 'matplotlib', 'scipy', 'soundfile', 'orbax', 'grain'}"
    done = child(["-c", f"import sys\n{code}\nprint('heavy:', sorted({heavy} & set(sys.modules)))"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_scoring_imports_only_what_it_needs(scratch: Path) -> None:
    heavy = "{'torch', 'matplotlib', 'scipy', 'orbax', 'grain', 'optax', 'tensorboardX'}"
    report = f"import atexit, sys; atexit.register(lambda: print('heavy:', sorted({heavy} & set(sys.modules)))); "
    command = scoring(scratch, "jsonl", scratch / "human.wav")
    command[2] = command[2].replace("import aasist_jax.commands.app", report + "import aasist_jax.commands.app")
    done = child(command[1:], env=os.environ | {"JAX_COMPILATION_CACHE_DIR": ""})
    assert done.returncode == 0, done.stderr
    score, imported = done.stdout.splitlines()
    assert json.loads(score)["status"] == "ok"
    assert imported == "heavy: []"


def test_a_platform_that_jax_lacks_is_one_line(aasist_folder: Path, scratch: Path) -> None:
    done = child(
        ["-m", "aasist_jax.commands.app", "score", str(scratch / "human.wav"), "--weights", str(aasist_folder)],
        env=os.environ | {"JAX_PLATFORMS": "abacus"},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: JAX finds no device to compute on: ")
    assert done.stderr.count("\n") == 1


# A shell starts what it puts in the background with SIGINT ignored, and children inherit that.
TOY_MAIN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from tests.models import toy; toy.register(toy.TOY); import aasist_jax.commands.app as c; c.main()"
)


def scoring(scratch: Path, format: str, *inputs: Path) -> list[str]:
    """The command line of a process that scores with the toy."""
    options = ["--weights", str(scratch / "weights"), "--format", format]
    return [sys.executable, "-c", TOY_MAIN, "score", *options, *map(str, inputs)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_output_that_cannot_be_written_is_one_line(scratch: Path) -> None:
    for format in ("table", "jsonl"):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                scoring(scratch, format, scratch / "human.wav"),
                cwd=REPOSITORY,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=300,
            )
        assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device\n")


def start(scratch: Path, folder: Path, files: int, format: str = "jsonl") -> subprocess.Popen[str]:
    """A process that scores so many recordings."""
    for index in range(files):
        (folder / f"{index:05}.wav").hardlink_to(scratch / "human.wav")
    return subprocess.Popen(
        scoring(scratch, format, folder),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_reader_that_leaves_ends_the_command_quietly(scratch: Path, tmp_path: Path) -> None:
    with start(scratch, tmp_path, 2000) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "ok"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_an_interruption_is_one_line(scratch: Path, tmp_path: Path) -> None:
    with start(scratch, tmp_path, 10_000) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "ok"
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == -signal.SIGINT
    assert err == "error: interrupted\n"
    # What was scored before is whole, and in order.
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["status"] for row in rows] == ["ok"] * len(rows)
    assert [row["file"] for row in rows] == [str(tmp_path / f"{i + 1:05}.wav") for i in range(len(rows))]
    assert len(rows) < 9_999


def test_an_interruption_names_what_goes_on(scratch: Path, tmp_path: Path) -> None:
    """Ctrl-C in a long `score --output`: names `--resume`."""
    folder, out = tmp_path / "clips", tmp_path / "scores.csv"
    folder.mkdir()
    for index in range(10_000):
        (folder / f"{index:05}.wav").hardlink_to(scratch / "human.wav")
    command = [*scoring(scratch, "csv", folder), "--output", str(out)]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        while not (out.exists() and out.stat().st_size > 1000):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == -signal.SIGINT
    assert err == f"error: interrupted; {out} keeps what is scored: the same command with --resume goes on\n"


def test_a_fault_of_the_programs_own_is_not_hidden() -> None:
    def broken() -> None:
        raise AssertionError("a bug")

    argv, sys.argv = sys.argv, ["broken"]
    try:
        with pytest.raises(AssertionError, match="a bug"):
            run(broken)
    finally:
        sys.argv = argv
