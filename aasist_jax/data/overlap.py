"""Finds clips and speakers that stand in more than one split: figures on such a split promise too much."""

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from aasist_jax.data.utterances import Utterance, shown
from aasist_jax.errors import DataError
from aasist_jax.runtime.files import sha256_of

logger = logging.getLogger(__name__)

BEGINNING = 4096
"""Bytes of a file that are compared before the whole file is: in most formats they tell two recordings apart."""

Member = tuple[str, Utterance]
"""A clip and the split that it stands in."""


def check_clips_in_one_split(splits: Mapping[str, Sequence[Utterance]]) -> None:
    """Check that no clip stands in two splits, neither under the same path nor as a copy under another.

    Copies are found by their size first, then by their first bytes, and only then by the SHA-256 of the whole.

    Raises:
        DataError: some do, or a file cannot be read.
    """
    members = [(name, utterance) for name, utterances in splits.items() for utterance in utterances]
    by_size = _groups((os.stat(utterance.path).st_size, (name, utterance)) for name, utterance in members)
    faults = []
    for same_size in by_size:
        by_beginning = _groups((_beginning(member[1].path), member) for member in same_size)
        for alike in by_beginning:
            for same in _groups((sha256_of(member[1].path), member) for member in alike):
                faults.append(" and ".join(f"{utterance.origin} ({name})" for name, utterance in same))
    if faults:
        count = "1 clip stands" if len(faults) == 1 else f"{len(faults)} clips stand"
        raise DataError(
            f"{count} in two splits, by the content of the files; keep each in one and take it out of the other "
            f"(on_bad_file=skip does not choose for you):\n{shown(faults)}"
        )


def warn_of_shared_speakers(splits: Mapping[str, Sequence[Utterance]]) -> None:
    """Log one warning if speakers stand in two splits.

    A voice that is nowhere human is that of a synthesiser, and many data sets use the same in several splits.
    """
    speakers = {name: {each.speaker for each in utterances} - {"-"} for name, utterances in splits.items()}
    human = {each.speaker for utterances in splits.values() for each in utterances if each.label == "bonafide"}
    shared = []
    for one, other in combinations(speakers, 2):
        if both := sorted(speakers[one] & speakers[other] & human):
            named = ", ".join(both[:3]) + (", ..." if len(both) > 3 else "")
            shared.append(f"{one} and {other} share {len(both)} of their speakers ({named})")
    if shared:
        logger.warning("%s: the figures promise too much for new voices", "; ".join(shared))


def _groups(members: Iterable[tuple[object, Member]]) -> list[list[Member]]:
    """The members with the same key, where they stand in more than one split."""
    groups: defaultdict[object, list[Member]] = defaultdict(list)
    for key, member in members:
        groups[key].append(member)
    return [group for group in groups.values() if len({name for name, _ in group}) > 1]


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(BEGINNING)).digest()
