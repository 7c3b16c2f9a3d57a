"""Runs a sweep: each of its runs in a process of its own, several at a time if asked for.

A sweep that was killed goes on: runs that have ended are not repeated, one that was stopped resumes. A run that the
sweep leaves behind when it is killed trains on to its end; it holds the lock of the folder, so that the next start of
the sweep waits for it instead of starting it a second time.
"""

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import FrameType
from typing import IO

from aasist_jax.runtime.files import locked, write_text
from aasist_jax.training.identity import config_fault
from aasist_jax.training.interruption import StopRequested
from aasist_jax.training.run_folder import writing
from aasist_jax.training.sweep_plan import PlannedRun
from aasist_jax.training.sweep_table import SweptRun, as_csv, as_markdown, figures_of

WAITING = "waiting for runs that are still at work there; end them to go on at once"


def run_sweep(
    runs: Sequence[PlannedRun],
    folder: Path,
    source: Path,
    program: Sequence[str],
    *,
    processes: int = 1,
    report: Callable[[SweptRun, int], None] = lambda swept, done: None,
) -> list[SweptRun]:
    """Make all runs that have not ended, and write `sweep.csv` and `sweep.md` after each.

    Args:
        runs: those of the plan.
        folder: of the sweep, made if needed.
        source: the file of the sweep, for the table.
        program: what trains, given the arguments of `aasist-jax train`.
        processes: runs at a time.
        report: called after each run, with how many have come to an end.

    Returns:
        The runs in their order. One that failed does not stop the others; its `fault` is the last line that it printed.

    Raises:
        StopRequested: SIGTERM or SIGINT was received, and the runs under way have saved a checkpoint and stopped.
        TrainingError: the folder cannot be written.
    """
    swept = {run.folder: SweptRun(run, {}) for run in runs}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", f"{folder}: {WAITING}") as lock, _stop_signals():
        children = _Children(program, lock)
        pool = ThreadPoolExecutor(processes)
        try:
            futures = [pool.submit(children.make, run) for run in runs]
            for done, future in enumerate(as_completed(futures), start=1):
                result = future.result()
                swept[result.run.folder] = result
                _write(list(swept.values()), folder, source)
                report(result, done)
        except StopRequested:
            children.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    return list(swept.values())


def _write(swept: Sequence[SweptRun], folder: Path, source: Path) -> None:
    with writing(folder):
        write_text(folder / "sweep.csv", as_csv(swept))
        write_text(folder / "sweep.md", as_markdown(swept, source))


class _Children:
    """The processes that train.

    Args:
        program: what trains.
        lock: held by every child, so that it is free when the last one has ended.
    """

    def __init__(self, program: Sequence[str], lock: IO[str]) -> None:
        self._program, self._lock = program, lock
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping, self._guard = False, threading.Lock()

    def make(self, run: PlannedRun) -> SweptRun:
        """Make a run, or find that it has ended."""
        ended = _ended(run)
        if ended is not None:
            return ended
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        log = run.folder.with_name(run.folder.name + ".log")
        with log.open("wb") as output:
            with self._guard:
                if self._stopping:
                    return SweptRun(run, {}, "stopped")
                child = subprocess.Popen(
                    [*self._program, *run.arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(self._lock.fileno(),),
                )
                self._running.add(child)
            code = child.wait()
            with self._guard:
                self._running.discard(child)
        return _ended(run) or SweptRun(run, {}, _fault(code, log))

    def stop(self) -> None:
        """Ask all processes to save a checkpoint and stop, and start no more."""
        with self._guard:
            self._stopping = True
            for child in self._running:
                child.terminate()


def _ended(run: PlannedRun) -> SweptRun | None:
    """The figures of a run that is complete, or that the folder holds another one; None if it is to be made."""
    try:
        summary = json.loads((run.folder / "summary.json").read_text(encoding="utf-8"))
        figures = figures_of(summary)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    fault = config_fault(run.folder / "config.json", run.config)
    if fault:
        return SweptRun(run, {}, f"{run.folder}: its config.json {fault}; give another --output")
    return SweptRun(run, figures)


def _fault(code: int, log: Path) -> str:
    """Why a process ended without a result, in a line."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip().removeprefix("error: ") if lines else f"ended with exit code {code}"


@contextlib.contextmanager
def _stop_signals() -> Iterator[None]:
    """SIGTERM and SIGINT raise `StopRequested`."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise StopRequested

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
