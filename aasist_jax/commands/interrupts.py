"""Ctrl-C: ends a program with one line, even where Python would lose the interrupt or crash on it."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from aasist_jax.runtime.messages import print_error

_received = False


def was_interrupted() -> bool:
    """Whether Ctrl-C was pressed within `interrupt_handling`, whatever became of the exception."""
    return _received


@contextlib.contextmanager
def interrupt_handling() -> Iterator[None]:
    """Context in which Ctrl-C during an import ends the process at once, and raises KeyboardInterrupt elsewhere.

    An exception that is raised amid the import of an extension module such as JAX's can be turned into another one,
    be lost, or crash the process. Nothing is left to clean up there. Where SIGINT is ignored or already handled, or in
    another thread than the main one, the context changes nothing.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    global _received
    _received = False
    signal.signal(signal.SIGINT, _handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _handle(number: int, frame: FrameType | None) -> None:
    global _received
    _received = True
    outer = frame
    while outer is not None:
        if outer.f_code.co_filename == "<frozen importlib._bootstrap>":
            end_interrupted()
        outer = outer.f_back
    signal.default_int_handler(number, frame)


def end_interrupted(way_out: str = "") -> None:
    """Print `interrupted`, with what the user can do next, and end the process by SIGINT, as a shell expects of Ctrl-C.

    An orderly exit could crash in JAX, which is stopped amid its work.
    """
    # RuntimeError: the interrupt came while this very stream was written to.
    with contextlib.suppress(RuntimeError):
        print_error(f"interrupted; {way_out}" if way_out else "interrupted")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
