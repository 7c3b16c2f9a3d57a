"""Contenders in processes of their own, which wait for their turns.

In one process they would share an allocator: what one leaves behind decides where the next one's gigabytes lie, and so
how many page faults it pays for.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from scripts.benchmarking.turns import BenchmarkError, Contender

PATIENCE = 10
"""Seconds that a process may take to end by itself."""


@contextlib.contextmanager
def own_process(
    name: str, prepare: Callable[[], None], make: Callable[[Any], Contender], job: Any
) -> Iterator[Contender]:
    """Start a process, call `prepare` there, make a contender of `job`, and call it there whenever it is called here.

    A call costs some 0.1 ms more than in the same process. The process ends with the block.

    Raises:
        BenchmarkError: it fails or dies there; one line that begins with `name`.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, prepare, make, job), daemon=True)
    process.start()
    there.close()
    try:
        tolerance = _receive(name, process, here)

        def call() -> np.ndarray:
            # Whoever is dead cannot be sent to, and has no answer either.
            with contextlib.suppress(OSError):
                here.send(None)
            result: np.ndarray = _receive(name, process, here)
            return result

        yield Contender(call, tolerance)
    finally:
        here.close()
        process.join(PATIENCE)
        process.kill()
        process.join()


def _receive(name: str, process: BaseProcess, connection: Connection) -> Any:
    try:
        result, error = connection.recv()
    except (EOFError, OSError):
        process.join(PATIENCE)
        raise BenchmarkError(f"{name}: its process {_end(process.exitcode)}") from None
    if error is not None:
        raise BenchmarkError(f"{name}: {error}")
    return result


def _end(code: int | None) -> str:
    """Say how a process ended; a negative code is the signal that killed it."""
    if code is not None and code < 0:
        number = -code
        known = number in set(signal.Signals)
        reason = " (too little memory?)" if number == signal.SIGKILL else ""
        return f"was killed by {signal.Signals(number).name if known else f'signal {number}'}{reason}"
    return f"ended too early, with exit code {code}; its messages stand above"


def _serve(connection: Connection, prepare: Callable[[], None], make: Callable[[Any], Contender], job: Any) -> None:
    try:
        prepare()
        contender = make(job)
        answer: Any = contender.tolerance
        while True:
            connection.send((answer, None))
            try:
                connection.recv()
            except EOFError:
                # The block has ended.
                return
            answer = contender.call()
    except KeyboardInterrupt:
        # It interrupts the parent as well, which says so.
        return
    except Exception as error:
        # Without a listener, if the block has ended meanwhile.
        with contextlib.suppress(OSError):
            connection.send((None, " ".join(f"{type(error).__name__}: {error}".split())))
