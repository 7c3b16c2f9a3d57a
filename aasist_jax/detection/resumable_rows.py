"""A file of rows that an interrupted run can resume. One process at a time writes it, with rows of one kind only.

Rows are appended as they are computed. Next to the file, `FILE.identity.json` records what its rows have in common,
such as the model. A resumed run checks this and removes a last row that was only partly written.
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
    """Open a text file for appending, locked against other processes; makes its folder if needed.

    Raises:
        ScoreFileError: another process is writing the file.
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
    """Read the rows that an earlier run wrote, and remove a last row that is incomplete.

    Args:
        file: from `opened_to_append`.
        path: path of the file.
        identity: what the rows of the file have in common, as JSON values.
        read_rows: reads the complete rows of a file; returns its findings and the bytes up to the end of the last row.
        way_out: what the user can do about a file that cannot be resumed; ends the error message.
        names: names of the keys of `identity` in messages; by default the keys themselves.

    Returns:
        The findings of `read_rows`; None for an empty file, for which the identity file has been written.

    Raises:
        ScoreFileError: the existing rows are of another kind, or the identity file is missing or damaged. The file is
            left unchanged.
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
    """A file name as it appears in a file of rows: characters that are not UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
