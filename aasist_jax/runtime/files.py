"""Atomic writing of files, reading of small ones, locks, and hashes."""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from aasist_jax.runtime.messages import say


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, which replaces `path` when the block ends without an error.

    A reader of `path` sees either the old file or the new one, never an incomplete one. If the block raises, the
    temporary file is removed and `path` is unchanged. For a symbolic link, its target is replaced. A path that is not a
    regular file, such as a pipe or `/dev/stdout`, cannot be replaced and is written directly.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    # The name contains the process id, so that two processes can write the same file at once.
    scratch = target.with_name(f".{target.name}.{os.getpid()}.writing")
    try:
        yield scratch
        os.replace(scratch, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            scratch.unlink()
        if isinstance(error, OSError) and str(error.filename) == str(scratch):
            # Report the path that the caller knows.
            error.filename = str(path)
        raise


@contextlib.contextmanager
def locked(path: Path, news: str) -> Iterator[TextIO]:
    """Hold a lock that one process at a time can have; a child that is given the open file holds it as well.

    Args:
        path: of the file to lock, made if needed.
        news: what is said, once, where another process has the lock and must be waited for.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(news)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that processes which were killed in `replacing` left in a folder and below it."""
    for path in list(folder.rglob(".*.writing")):
        writer = path.name.split(".")[-2]
        if writer.isdecimal() and not _is_running(int(writer)):
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically.

    Characters that UTF-8 cannot encode, such as undecodable bytes of a file name, are written as escape sequences.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as scratch:
        scratch.write_bytes(content)


LARGEST_TEXT = 16 << 20
"""The most bytes that a file of settings may have; a larger one is no such file, and would fill the memory."""


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """Read a UTF-8 text file of at most `largest` bytes.

    Raises:
        OSError: the file cannot be read, or is larger.
        UnicodeDecodeError: it is not UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"more than {largest:,} bytes", str(path))
    return content.decode("utf-8")


def sha256_of(*paths: Path) -> str:
    """The SHA-256 of a file's content, or of several files' one after the other, as 64 hexadecimal digits.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
