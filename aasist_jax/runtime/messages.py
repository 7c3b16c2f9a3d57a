"""What is told on standard error: errors always, news unless the user asked for quiet."""

import contextlib
import os
import sys
from typing import TextIO

_quiet = False


def be_quiet(quiet: bool) -> None:
    """Switch news and progress off, or on again, for the whole process."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Tell whether news and progress are switched off."""
    return _quiet


def say(text: str) -> None:
    """Print a line of news on standard error: neither a result nor an error, and left out where quiet is asked for."""
    if not _quiet:
        _print(text)


def print_warning(message: str) -> None:
    """Print `warning: MESSAGE` on standard error, in quiet too: who trusts the results must know of it."""
    _print(f"warning: {message}")


def print_error(message: str, *, is_list: bool = False) -> None:
    """Print `error: MESSAGE` on standard error.

    Messages quote files and their names, which must neither break the line nor command a terminal: what is not
    printable is written as an escape sequence.

    Args:
        message: what is wrong.
        is_list: the message is a list, and its line ends are meant.
    """
    lines = message.split("\n") if is_list else [message]
    safe = ("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines)
    _print("error: " + "\n".join(safe))


def _print(text: str) -> None:
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        # Nobody reads standard error any more; the results are still wanted.
        stop_writing(sys.__stderr__)


def stop_writing(stream: TextIO | None) -> None:
    """Let a stream that nobody reads any more lead nowhere: what waits in it would fail once more at the end."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]
