"""Removes the incomplete files that a failed save or a killed run leaves."""

import contextlib
import re
import shutil
import threading
import time
from pathlib import Path

DELETED = "deleted"
"""Folder within the checkpoint folder into which Orbax moves a step before deleting it."""

FINISHER = "checkpoint_finisher"
"""Prefix of the names of the threads that write manifests."""

PATIENCE = 5.0
"""Seconds to wait for the threads of a failed save to end."""

_TEMPORARY = re.compile(r"\d+\.orbax-checkpoint-tmp.*")
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")


def remove_leftovers(folder: Path) -> None:
    """Remove Orbax's temporary folders and steps that are being deleted. Must not run during a save.

    Raises:
        OSError: something cannot be removed, perhaps because a thread of a failed save is still writing there.
    """
    for entry in list(folder.iterdir()):
        if entry.is_dir() and (_TEMPORARY.fullmatch(entry.name) or entry.name == DELETED):
            shutil.rmtree(entry)


def try_to_remove_leftovers(folder: Path) -> bool:
    """Like `remove_leftovers`, but return whether it succeeded."""
    try:
        remove_leftovers(folder)
    except OSError:
        return False
    return True


def wait_for_new_threads(earlier: frozenset[threading.Thread], deadline: float) -> None:
    """Wait until all threads that are not in `earlier` have ended, or until `deadline` (of `time.monotonic`).

    When a write fails, Orbax raises at once while its other threads go on writing. They would create files during and
    after the removal of the leftovers. A thread that the caller has started in the meantime is waited for as well,
    which only costs the time until the deadline.

    Threads of Orbax's C++ libraries and of other processes cannot be waited for. Their files have no manifest, so they
    are never trusted, and the next `save`, `wait` or `close` of the store removes them.
    """
    for thread in frozenset(threading.enumerate()) - earlier - {threading.current_thread()}:
        if not thread.name.startswith(FINISHER):
            with contextlib.suppress(Exception):  # `join` of Orbax's threads raises the error that they ended with.
                thread.join(max(0.0, deadline - time.monotonic()))


def reason_of(error: BaseException) -> str:
    """The reason for a failed save or restore, in one line."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if any(text in str(link) for link in chain for text in _FULL):
        return "the disk is full (or the quota, or the limit of a file's size, is reached); free some space"
    return next(iter(str(error).splitlines()), "") or type(error).__name__
