"""Runs programs in processes of their own, which wait for their turns.

In one process the implementations would share an allocator: what one leaves behind decides where the next one's
gigabytes lie, and so how many page faults it pays for. A process of its own also shows the memory of one alone.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rounds import BenchmarkError

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
PATIENCE = 10
"""Seconds that a process may take to end by itself."""


@dataclass(frozen=True)
class Child:
    """A running program; `name` begins its error messages, BenchmarkErrors of one line."""

    name: str
    process: "subprocess.Popen[str]"

    def call(self) -> np.ndarray:
        """Let the program compute once, and return its result; costs 0.1 ms more than in this process."""
        # A dead process cannot be written to, and has no answer either.
        with contextlib.suppress(OSError):
            print(file=self.process.stdin, flush=True)
        return np.asarray(self.answer())

    def answer(self) -> Any:
        """Read one answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {"error": f"its process {_end(self.process.wait(PATIENCE))}"}
        if "error" in reply:
            raise BenchmarkError(f"{self.name}: {reply['error']}")
        return reply["answer"]

    def memory_mb(self, field: str) -> float:
        """Read a field of the process's status, VmRSS (memory now) or VmHWM (its peak), in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024e-6 * int(status.partition(field + ":")[2].split()[0])


@contextlib.contextmanager
def child(
    name: str, program: str, *, checkout: Path = REPOSITORY, keep_memory: bool = True, env: Any = None, **options: Any
) -> Iterator[Child]:
    """Start `program`, a `FILE:FUNCTION` of a checkout's benchmarks, and wait until it is ready.

    `FUNCTION(**options)` makes the call, with the packages of the checkout and further environment variables. With
    `keep_memory` its allocator keeps freed memory, as `aasist-jax` sets it up. The process ends with the block.
    """
    file, _, function = program.rpartition(":")
    path = str(checkout / "benchmarks" / file)
    job = {"file": path, "function": function, "options": options, "keep_memory": keep_memory}
    environment = os.environ | {"PYTHONPATH": str(checkout)} | (env or {})
    command = [sys.executable, "-P", str(HERE / "child.py"), json.dumps(job)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        try:
            found = Child(name, process)
            found.answer()
            yield found
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired, OSError):
                process.communicate(timeout=PATIENCE)
            process.kill()


def _end(code: int) -> str:
    """Say how a process ended; a negative code is the signal that killed it."""
    if code >= 0:
        return f"ended too early, with exit code {code}; its messages stand above"
    return f"was killed by {signal.Signals(-code).name}" + " (too little memory?)" * (-code == signal.SIGKILL)
