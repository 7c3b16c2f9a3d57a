"""Files that are there whole or not at all, and their hashes."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a scratch file, which takes the place of `path` when the block has ended well.

    Whoever reads `path` finds the old file or the new one, never half of either. Where the block fails, the scratch
    file is removed and what was there stays. A symbolic link stays, and its target is replaced. What is no regular
    file, such as a pipe or `/dev/stdout`, cannot be replaced and is written to directly.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    # Of this process alone: two that write the same file at once do not disturb each other.
    scratch = target.with_name(f".{target.name}.{os.getpid()}.writing")
    try:
        yield scratch
        os.replace(scratch, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            scratch.unlink()
        if isinstance(error, OSError) and str(error.filename) == str(scratch):
            # Nobody has heard of the scratch file.
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all.

    What UTF-8 cannot express, such as the bytes of a file name that is no text, becomes an escape sequence.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as scratch:
        scratch.write_bytes(content)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
