"""The manifest of a checkpoint step: every file of its folder with size and SHA-256.

A step folder is to be trusted when its manifest is there, is byte for byte what this module would write, and
lists exactly the files that are there, unchanged. One flipped bit anywhere, the manifest included, is found.
"""

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from aasist_jax.runtime.files import replacing

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StoredFile:
    """Size in bytes and SHA-256 (hexadecimal) of one file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a step folder holds: its step, metric, leaves of the state (name to dtype and shape) and files."""

    step: int
    metric: float | None
    leaves: dict[str, str]
    files: dict[str, StoredFile]

    def to_bytes(self) -> bytes:
        """The one spelling of this manifest: JSON without white space, then the SHA-256 of that JSON."""
        text = json.dumps(asdict(self), separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
        return text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"


def write_manifest(folder: Path, step: int, metric: float | None, leaves: dict[str, str]) -> Manifest:
    """Hash every file of `folder` and write its manifest, atomically and through to the disk.

    The files themselves are flushed first: once the manifest is there, the step outlives a power cut.

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
    """The manifest of a step folder; the files it lists are not looked at.

    Raises:
        FileNotFoundError: there is none.
        ValueError: its bytes are not those that were written.
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
    """Why the folder of `step` is not to be trusted, in one line; None where every byte is as written.

    "unfinished" means that the save never got as far as its manifest, "damaged" that something changed since.
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
    """Every file below `folder` but the manifest, as sorted relative POSIX paths."""
    names = [
        (Path(directory) / name).relative_to(folder).as_posix()
        for directory, _, files in os.walk(folder)
        for name in files
    ]
    return sorted(name for name in names if name != MANIFEST)


def _stored_file(path: Path) -> StoredFile:
    # A pipe or a device in a file's place would block the reader for ever.
    if not stat.S_ISREG(path.lstat().st_mode):
        return StoredFile(0, "not a regular file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return StoredFile(os.fstat(file.fileno()).st_size, digest)


def _flush(path: Path) -> None:
    """Have the operating system put a file, or a directory's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
