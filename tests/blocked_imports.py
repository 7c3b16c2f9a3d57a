"""Processes in which some packages cannot be imported, to show that nothing asks for them."""

import subprocess
import sys

from tests.conftest import REPOSITORY

PROGRAM = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {packages}:
            raise ImportError(f"{{name}} is not to be imported")

sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_without(packages: tuple[str, ...], script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script of the repository in a process that cannot import `packages`."""
    command = [sys.executable, "-c", PROGRAM.format(packages=packages), script, *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
