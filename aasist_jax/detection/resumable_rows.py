"""A file of rows that can be gone on with: written by one process at a time, and only with rows of the same kind.

Rows are appended as they come. Beside the file lies `FILE.identity.json`, which says what its rows have in common,
such as the model. A start that goes on checks this, and cuts off a last row that was only half written.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TypeVar

from aasist_jax.errors import ScoreFileError
from aasist_jax.runtime.files import write_text

Found = TypeVar("Found")


@contextmanager
def opened_to_append(path: Path) -> Iterator[TextIOWrapper]:
    """Open a text file to append to, by one process at a time, and make its folder.

    Raises:
        ScoreFileError: another process writes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8", errors="backslashreplace", newline="") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ScoreFileError(f"{path}: another process is writing it; wait for it, or name another file") from None
        yield file


def take_up_rows(
    file: TextIOWrapper,
    path: Path,
    identity: Mapping[str, Any],
    read_rows: Callable[[Path], tuple[Found, int]],
    *,
    way_out: str,
    names: Mapping[str, str] | None = None,
) -> Found | None:
    """Find the rows that an earlier start wrote, and cut off what it wrote only half of.

    Args:
        file: from `opened_to_append`.
        path: of the file.
        identity: what the rows of the file have in common, as JSON can hold it.
        read_rows: gives what is to be known of the whole rows of a file, and the bytes up to the end of the last.
        way_out: what a user can do with a file that cannot be gone on with.
        names: how messages call the keys of `identity`; by the keys themselves unless given.

    Returns:
        What `read_rows` gave; None for an empty file, beside which the identity has been written.

    Raises:
        ScoreFileError: the rows there are of another kind, or nothing tells of which. The file is as it was.
    """
    identity_path = path.with_name(path.name + ".identity.json")
    if not os.fstat(file.fileno()).st_size:
        write_text(identity_path, json.dumps(dict(identity)) + "\n")
        return None
    try:
        before = json.loads(identity_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        fault = f"{identity_path.name}, which tells whose scores these are, is missing or damaged"
        raise ScoreFileError(f"{path}: cannot go on with it, since {fault}; {way_out}") from None
    differing = [
        (names or {}).get(key, key)
        for key, value in identity.items()
        if not isinstance(before, dict) or before.get(key) != value
    ]
    if differing:
        raise ScoreFileError(f"{path}: its scores are of another {' and '.join(differing)}; {way_out}")
    found, whole = read_rows(path)
    file.truncate(whole)
    return found


def as_written(name: str) -> str:
    """A file's name as a file of rows holds it."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
