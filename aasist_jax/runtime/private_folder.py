"""Folders whose content is executed or trusted: compiled kernels, compiled programs, downloaded weights."""

import os
import stat
from pathlib import Path

from platformdirs import user_cache_path, user_data_path


def cache_folder() -> Path:
    """The user's cache folder of this package; it need not exist yet. Where it is a link, its target."""
    return user_cache_path("aasist_jax").resolve()


def data_folder() -> Path:
    """The user's data folder of this package, for what cannot be fetched or computed again; it need not exist yet."""
    return user_data_path("aasist_jax").resolve()


def make_private(folder: Path) -> None:
    """Make a folder and its missing parents, for this user alone, whatever the umask is.

    Raises:
        OSError: it cannot be made.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def why_untrusted(path: Path, root: Path) -> str:
    """Why another user of this machine may have put `path` there, in one phrase; '' if that cannot be.

    A path is trusted if it, `root` above it and all between them belong to this user or to root, and no other user may
    write there. On systems without such owners everything is trusted.

    Raises:
        OSError: `path` does not exist or cannot be looked at.
    """
    if not hasattr(os, "getuid"):
        return ""
    for each in (path, *(parent for parent in path.parents if parent.is_relative_to(root))):
        status = each.lstat()
        if status.st_uid not in (os.getuid(), 0):
            return f"{each} belongs to another user"
        if stat.S_ISLNK(status.st_mode):
            return f"{each} is a link"
        # In a folder with the sticky bit, such as /tmp, nobody can replace what belongs to another.
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
            return f"{each} can be written by other users; run `chmod go-w {each}` if its content is yours"
    return ""
