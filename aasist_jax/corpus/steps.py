"""What the builders of corpora share: a folder that is begun once and completed, and work in several processes."""

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aasist_jax.corpus.layout import write_text
from aasist_jax.corpus.packages import OTHER_WAYS, Progress
from aasist_jax.errors import DataError

_MARKER = "corpus.json"
_T = TypeVar("_T")

Settings = Mapping[str, object]
"""All that decides what a corpus holds; numbers, texts, and lists and tables of them."""


@dataclass(frozen=True)
class Workshop:
    """What those who make clips are sent to worker processes with.

    Attributes:
        root: root of the unpacked packages.
        env: environment in which their programs run.
        output: folder of the corpus.
        seed: seed of the corpus.
    """

    root: Path
    env: Mapping[str, str]
    output: Path
    seed: int


def is_complete(output: Path, settings: Settings) -> bool:
    """Whether the corpus of these settings is complete by its marker.

    Raises:
        DataError: The folder holds something else, which must not be mixed up or overwritten.
    """
    marker = output / _MARKER
    if marker.is_file():
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict) or {key: found.get(key) for key in settings} != settings:
            raise DataError(f"{output} holds a corpus of other settings: give another folder, or remove this one")
        return found.get("complete") is True
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is not empty and holds no corpus begun here: give another folder")
    return False


def mark(output: Path, settings: Settings, *, complete: bool) -> None:
    """Write down that a corpus of these settings is begun, or complete."""
    marked = {**settings, "complete": True} if complete else dict(settings)
    write_text(output / _MARKER, json.dumps(marked, indent=2) + "\n")


def recorded(output: Path, key: str) -> object:
    """What the marker of a corpus that is begun or complete holds beside its settings under a key; None if nothing."""
    marker = output / _MARKER
    return json.loads(marker.read_text(encoding="utf-8")).get(key) if marker.is_file() else None


def require_modules(modules: Sequence[str], extra: str) -> None:
    """Check that Python packages are installed, by the names of their modules.

    Raises:
        DataError: some are missing; the message names the extra that brings them.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise DataError(
            f"building the corpus needs the Python packages of the extra `{extra}` (missing: {', '.join(missing)}): "
            f"pip install 'aasist-jax[{extra}]'; or {OTHER_WAYS}"
        )


def each(
    pool: ProcessPoolExecutor, make: Callable[[_T], None], items: Sequence[_T], stage: str, progress: Progress
) -> None:
    """Make every item in the processes of the pool, and report how many are done.

    Raises:
        DataError: a process was killed. What the maker raises is raised on; what has not begun by then is left undone.
    """
    progress(stage, 0, len(items))
    futures = [pool.submit(make, item) for item in items]
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            progress(stage, done, len(items))
    except BrokenProcessPool:
        raise DataError(
            f"{stage}: a process was killed, perhaps for want of memory; start the build again, it goes on from here"
        ) from None
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def copy_licences(output: Path, root: Path, packages: Iterable[str]) -> None:
    """Copy the copyright files of packages from the unpacked tree to `licences/`."""
    for package in packages:
        for notice in root.glob(f"usr/share/doc/{package}/copyright*"):
            (output / "licences").mkdir(exist_ok=True)
            shutil.copyfile(notice, output / "licences" / f"{package}.txt")
