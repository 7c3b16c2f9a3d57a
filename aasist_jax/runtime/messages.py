"""Messages on standard error: errors and warnings always, news unless the user asked for quiet."""

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TextIO

_quiet = False


def be_quiet(quiet: bool) -> None:
    """Switch news and progress off (True) or on (False) for the whole process."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether news and progress are switched off."""
    return _quiet


def say(text: str) -> None:
    """Print a line of news (neither a result nor an error) on standard error, unless quiet is on."""
    if not _quiet:
        _print(text)


def print_warning(message: str) -> None:
    """Print `warning: MESSAGE` on standard error, even if quiet is on, because it concerns the results.

    What is not printable is escaped as in `print_error`; line ends are kept.
    """
    _print("warning: " + _safe(message.split("\n")))


def print_error(message: str, *, is_list: bool = False) -> None:
    """Print `error: MESSAGE` on standard error.

    Messages quote file names and content, which must not break the line or control the terminal. Characters that are
    not printable are written as escape sequences.

    Args:
        message: the message.
        is_list: whether the message is a list whose line ends are kept.
    """
    _print("error: " + _safe(message.split("\n") if is_list else [message]))


def _safe(lines: Iterable[str]) -> str:
    return "\n".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines)


def _print(text: str) -> None:
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        # Standard error is closed, but the results are still wanted.
        stop_writing(sys.__stderr__)


def stop_writing(stream: TextIO | None) -> None:
    """Redirect a closed stream to the null device, so that flushing its buffer at exit does not fail again."""
    if stream is None:
        return
    # What stands in place of a stream may have no descriptor.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
