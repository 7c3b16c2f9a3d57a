"""Ctrl-C at awkward moments, in real processes: amid an import, and where the exception gets lost."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

# A shell starts what it puts in the background with SIGINT ignored, and children inherit that.
AS_IN_A_TERMINAL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def interrupted(code: str, folder: Path) -> tuple[int, str]:
    """Exit code and standard error of a program that is interrupted when it makes the file `there`."""
    there = folder / "there"
    process = subprocess.Popen(
        [sys.executable, "-c", AS_IN_A_TERMINAL + textwrap.dedent(code)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)]), "THERE": str(there)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not there.exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


WAITING = """
    import os, pathlib, time
    pathlib.Path(os.environ["THERE"]).touch()
    time.sleep(50)
"""


@pytest.mark.parametrize("lost_as", ["KeyboardInterrupt", "ImportError", "AttributeError"])
def test_amid_an_import(tmp_path: Path, lost_as: str) -> None:
    """JAX's import can turn the interrupt into another error, or lose it."""
    lines = textwrap.indent(textwrap.dedent(WAITING), "    ")
    (tmp_path / "jax.py").write_text(f"try:{lines}except KeyboardInterrupt:\n    raise {lost_as}('lost') from None\n")
    code = "import sys\nfrom aasist_jax.__main__ import main\nsys.argv = ['aasist-jax', 'export', 'x', '--format', "
    code += "'onnx', '--output', 'x']\nmain()\n"
    assert interrupted(code, tmp_path) == (-signal.SIGINT, "error: interrupted\n")


def test_amid_the_import_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(textwrap.dedent(WAITING))
    code = "from aasist_jax.__main__ import main\nmain()\n"
    assert interrupted(code, tmp_path) == (-signal.SIGINT, "error: interrupted\n")


@pytest.mark.parametrize("instead", ["raise RuntimeError('lost')", "raise AasistError('lost')", "raise SystemExit(0)"])
def test_where_another_error_takes_its_place(tmp_path: Path, instead: str) -> None:
    code = f"""
        import sys
        from aasist_jax.commands.app import run
        from aasist_jax.errors import AasistError

        def work() -> None:
            try:
                import os, pathlib, time
                pathlib.Path(os.environ["THERE"]).touch()
                time.sleep(50)
            except KeyboardInterrupt:
                {instead}

        sys.argv = ["work"]
        run(work)
    """
    assert interrupted(code, tmp_path) == (-signal.SIGINT, "error: interrupted\n")
