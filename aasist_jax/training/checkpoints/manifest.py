"""The manifest of a checkpoint step: size and SHA-256 of every file in its folder.

A step folder is trusted if its manifest exists, is byte for byte what this module would write, and lists exactly the
files in the folder with their contents. A single flipped bit is detected, even in the manifest.
"""

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from aasist_jax.runtime.files import replacing, sha256_of

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StoredFile:
    """Size in bytes and SHA-256 (hexadecimal) of one file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of a step folder: step, metric, leaves of the state (name to dtype and shape) and files."""

    step: int
    metric: float | None
    leaves: dict[str, str]
    files: dict[str, StoredFile]

    def to_bytes(self) -> bytes:
        """The manifest as written to the file: JSON without white space, then the SHA-256 of that JSON."""
        text = json.dumps(asdict(self), separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
        return text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"


def write_manifest(folder: Path, step: int, metric: float | None, leaves: dict[str, str]) -> Manifest:
    """Hash every file of `folder` and write the manifest atomically, flushed to the disk.

    The files are flushed first, so that a step with a manifest survives a power failure.

    Raises:
        ValueError: the metric is not finite.
        OSError: a file cannot be read, flushed or written.
    """
    files = {}
    for name in _file_names(folder):
        _flush(folder / name)
        files[name] = _stored_file(folder / name)
    manifest = Manifest(step, metric, leaves, files)
    with replacing(folder / MANIFEST) as scratch:
        scratch.write_bytes(manifest.to_bytes())
        _flush(scratch)
        for directory, _, _ in os.walk(folder):
            _flush(Path(directory))
    _flush(folder)
    _flush(folder.parent)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a step folder without checking the files that it lists.

    Raises:
        FileNotFoundError: there is no manifest.
        ValueError: the manifest is damaged.
    """
    path = folder / MANIFEST
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError(f"{MANIFEST} is not a regular file")
    raw = path.read_bytes()
    try:
        fields = json.loads(raw.split(b"\n", 1)[0])
        fields["files"] = {name: StoredFile(**entry) for name, entry in fields["files"].items()}
        manifest = Manifest(**fields)
        intact = manifest.to_bytes() == raw
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise ValueError(f"{MANIFEST} is not as it was written")
    return manifest


def find_fault(folder: Path, step: int) -> str | None:
    """Why the folder of `step` cannot be trusted, in one line; None if every byte is as written.

    "unfinished" means that the save ended before its manifest was written; "damaged", that something changed later.
    """
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        return f"unfinished: no {MANIFEST}"
    except (ValueError, OSError) as error:
        return f"damaged: {error}"
    if manifest.step != step:
        return f"damaged: {MANIFEST} is that of step {manifest.step}"
    found = set(_file_names(folder))
    faults = [f"{name} is missing" for name in sorted(manifest.files.keys() - found)]
    faults += [f"{name} is not in the manifest" for name in sorted(found - manifest.files.keys())]
    for name in sorted(manifest.files.keys() & found):
        try:
            if _stored_file(folder / name) != manifest.files[name]:
                faults.append(f"{name} is not as it was written")
        except OSError as error:
            faults.append(f"{name} cannot be read ({error.strerror})")
    if not faults:
        return None
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    return f"damaged: {faults[0]}{more}"


def _file_names(folder: Path) -> list[str]:
    """All files below `folder` except the manifest, as sorted relative POSIX paths."""
    names = [
        (Path(directory) / name).relative_to(folder).as_posix()
        for directory, _, files in os.walk(folder)
        for name in files
    ]
    return sorted(name for name in names if name != MANIFEST)


def _stored_file(path: Path) -> StoredFile:
    # Reading a pipe or a device in place of a file could block forever.
    if not stat.S_ISREG(path.lstat().st_mode):
        return StoredFile(0, "not a regular file")
    return StoredFile(path.stat().st_size, sha256_of(path))


def _flush(path: Path) -> None:
    """Flush a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
