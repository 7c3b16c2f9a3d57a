"""Removing what a failed save, or a run that was killed, left half done."""

import contextlib
import re
import shutil
import threading
import time
from pathlib import Path

DELETED = "deleted"
"""The folder, within that of the checkpoints, into which Orbax moves a step before it deletes it."""

FINISHER = "checkpoint_finisher"
"""Names of the threads that write manifests begin so."""

PATIENCE = 5.0
"""Seconds that the threads of a failed save are given to end."""

_TEMPORARY = re.compile(r"\d+\.orbax-checkpoint-tmp.*")
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary folders of Orbax and steps that are being deleted. Nothing may be being saved.

    Raises:
        OSError: something cannot be removed, perhaps because a forgotten thread is still writing there.
    """
    for entry in list(folder.iterdir()):
        if entry.is_dir() and (_TEMPORARY.fullmatch(entry.name) or entry.name == DELETED):
            shutil.rmtree(entry)


def try_to_remove_leftovers(folder: Path) -> bool:
    """As `remove_leftovers`, but returns whether it succeeded."""
    try:
        remove_leftovers(folder)
    except OSError:
        return False
    return True


def wait_for_new_threads(earlier: frozenset[threading.Thread], deadline: float) -> None:
    """Wait until the threads that were not there `earlier` have ended, or until `deadline` (of `time.monotonic`).

    Orbax raises at the first write that fails, and leaves its other writes to threads that it forgets. They would
    create files while the leftovers are being removed, and after that. A thread that the caller has started in
    between is waited for in vain, which costs no more than the time until the deadline.

    Threads that Orbax's C++ libraries start, and those of other processes, cannot be waited for. What they write has
    no manifest, so it is never trusted, and the next `save`, `wait` or `close` of the store removes it.
    """
    for thread in frozenset(threading.enumerate()) - earlier - {threading.current_thread()}:
        if not thread.name.startswith(FINISHER):
            with contextlib.suppress(Exception):  # `join` of Orbax's threads raises the error that they ended with.
                thread.join(max(0.0, deadline - time.monotonic()))


def reason_of(error: BaseException) -> str:
    """The reason of a failed save or restore, in one line."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if any(text in str(link) for link in chain for text in _FULL):
        return "the disk is full (or the quota, or the limit of a file's size, is reached); free some space"
    return next(iter(str(error).splitlines()), "") or type(error).__name__
