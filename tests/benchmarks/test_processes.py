"""Programs in processes of their own: their answers, their ends and their memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import child
from benchmarks.rounds import BenchmarkError
from tests.conftest import REPOSITORY

PROGRAMS = """
import os
import sys

calls = []


def counting(tolerance):
    print("a library says something", flush=True)
    return lambda: calls.append(tolerance) or [os.getpid(), *calls, "jax" in sys.modules]


def refusing(message):
    raise FileNotFoundError(message)


def leaving(code):
    os._exit(code)


def failing(message):
    results = iter([1.0])

    def call():
        for result in results:
            return result
        raise ValueError(message)

    return call


def of_checkout():
    import package

    return lambda: package.NUMBER
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("programs") / "programs.py"
    path.write_text(PROGRAMS)
    return path


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_runs_in_a_process_of_its_own_which_ends_with_the_block(programs: Path) -> None:
    with child("ours", f"{programs}:counting", tolerance=0.5) as process:
        number, *found = process.call()
        assert found == [0.5, False]
        assert list(process.call()) == [number, 0.5, 0.5, False]
        assert int(number) != os.getpid()
        assert is_alive(int(number))
        assert 0 < process.memory_mb("VmRSS") <= process.memory_mb("VmHWM")
    assert not is_alive(int(number))


def test_a_program_is_of_its_checkout_and_imports_the_packages_there(tmp_path: Path) -> None:
    for name, number in (("one", 1), ("other", 2)):
        (tmp_path / name / "benchmarks").mkdir(parents=True)
        (tmp_path / name / "benchmarks" / "programs.py").write_text(PROGRAMS)
        (tmp_path / name / "package.py").write_text(f"NUMBER = {number}\n")
        with child(name, "programs.py:of_checkout", checkout=tmp_path / name, keep_memory=False) as process:
            assert process.call() == number


@pytest.mark.parametrize(
    ("function", "option", "line"),
    [
        ("refusing", {"message": "no file\n here"}, r"^ours: FileNotFoundError: no file here$"),
        ("leaving", {"code": 3}, r"^ours: its process ended too early, with exit code 3; its messages stand above$"),
    ],
)
def test_a_program_that_cannot_be_made_is_one_line(programs: Path, function: str, option: dict, line: str) -> None:
    with pytest.raises(BenchmarkError, match=line), child("ours", f"{programs}:{function}", **option):
        raise AssertionError("it was made")


def test_a_call_that_fails_is_one_line(programs: Path) -> None:
    with child("ours", f"{programs}:failing", message="too\nlong") as process:
        assert process.call() == 1
        with pytest.raises(BenchmarkError, match=r"^ours: ValueError: too long$"):
            process.call()
        with pytest.raises(BenchmarkError, match=r"^ours: its process ended too early, with exit code 0; "):
            process.call()


def test_a_process_that_is_killed_is_one_line(programs: Path) -> None:
    with child("ours", f"{programs}:counting", tolerance=0) as process:
        # As Linux does to whoever takes too much memory.
        os.kill(int(process.call()[0]), signal.SIGKILL)
        with pytest.raises(BenchmarkError, match=r"^ours: its process was killed by SIGKILL \(too little memory\?\)$"):
            process.call()


@pytest.mark.parametrize(("framework", "others"), [("torch", {"jax", "onnxruntime"}), ("onnx", {"jax", "torch"})])
def test_the_memory_of_a_process_is_that_of_its_framework_alone(framework: str, others: set[str]) -> None:
    modules = f"import sys, benchmarks.{framework}_programs; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", modules], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not others & set(done.stdout.split())
