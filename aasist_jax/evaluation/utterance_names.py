"""Finds the same utterances in two files that may name them differently: by path or not, with a suffix or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from jaxtyping import Int64

from aasist_jax.data.table_words import AUDIO_SUFFIXES


@dataclass(frozen=True)
class Matches:
    """Where utterances stand in another file.

    Attributes:
        places: Position of each utterance in the other file; -1 if it is not there, -2 if several are called so.
        example: A name of the other file and the different name that it was found by; None if all names are the same.
    """

    places: Int64[np.ndarray, "wanted"]
    example: tuple[str, str] | None = None

    @property
    def all_found(self) -> bool:
        """Whether every utterance was found."""
        return bool(np.all(self.places >= 0))


def find_utterances(wanted: Sequence[str], there: Sequence[str]) -> Matches:
    """Find utterances among the names of another file.

    Names are compared as they are. Where not all are found so, they are compared without the suffixes of audio files
    and by as many of their last folders as finds the most; a name that then stands for several is not found.

    Args:
        wanted: Names without duplicates.
        there: Names of the other file, without duplicates.
    """
    places = {name: index for index, name in enumerate(there)}
    best = Matches(np.array([places.get(name, -1) for name in wanted], dtype=np.int64))
    if best.all_found or not there:
        return best
    parts_wanted, parts_there = [_parts(name) for name in wanted], [_parts(name) for name in there]
    deepest = max(map(len, [*parts_wanted, *parts_there]))
    for depth in range(deepest, 0, -1):
        found = _by_last_parts(parts_wanted, parts_there, depth)
        if _found_and_several(found) > _found_and_several(best.places):
            pairs = ((there[place], wanted[index]) for index, place in enumerate(found.tolist()) if place >= 0)
            best = Matches(found, next((pair for pair in pairs if pair[0] != pair[1]), None))
        if best.all_found:
            break
    return best


def _found_and_several(places: np.ndarray) -> tuple[int, int]:
    """How many utterances were found, and, of less weight, how many could be several."""
    return int((places >= 0).sum()), int((places == -2).sum())


def _by_last_parts(wanted: Sequence[Sequence[str]], there: Sequence[Sequence[str]], depth: int) -> np.ndarray:
    places: dict[tuple[str, ...], int] = {}
    for index, parts in enumerate(there):
        tail = tuple(parts[-depth:])
        places[tail] = -2 if tail in places else index
    tails = [tuple(parts[-depth:]) for parts in wanted]
    found = np.array([places.get(tail, -1) for tail in tails], dtype=np.int64)
    # Two utterances must not share one place.
    used, counts = np.unique(found[found >= 0], return_counts=True)
    found[np.isin(found, used[counts > 1])] = -2
    return found


def _parts(name: str) -> list[str]:
    """Folders and name without the suffix of an audio file, of a path of either kind of system."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.suffix.lower() in AUDIO_SUFFIXES:
        path = path.with_suffix("")
    return [part for part in path.parts if part not in ("/", ".")] or [name]
