"""Two processes that meet at a free port of this machine, as two hosts would over a network."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.conftest import REPOSITORY

Process = subprocess.Popen[str]


@contextmanager
def start_two(arguments: Callable[[int, int], list[str]]) -> Iterator[list[Process]]:
    """Start `python ARGUMENTS`, given index and port, on two CPU devices each; what is left at the end is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": str(REPOSITORY)}
    with ExitStack() as stack:
        processes = []
        for index in (0, 1):
            process = subprocess.Popen(
                [sys.executable, *arguments(index, port)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        yield processes


def wait_for(processes: list[Process], timeout: float) -> list[str]:
    """Wait for a good end of each; what they printed on standard output."""
    ends = [process.communicate(timeout=timeout) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    return [output for output, _ in ends]
