"""A labelled clip, and functions that the readers of all layouts share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aasist_jax.data.table_words import Label
from aasist_jax.errors import DataError

SHOWN = 20
"""The most problems that a message lists; further ones are only counted."""

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip and what is known about it.

    `utterance` is the name of the clip in score files, unique in a split. Score files separate columns by spaces, so
    neither `utterance` nor `attack` holds any. `attack` is "-" for bona fide speech and "unknown" for a spoof of
    unknown kind; `speaker` is "-" if it is unknown. `origin` is the FILE:LINE that lists the clip, for messages.
    `copy_of` names the bona fide clip that a spoof was made from; "" if there is none or it is unknown.
    """

    utterance: str
    path: Path
    label: Label
    attack: str
    speaker: str
    origin: str
    copy_of: str = ""


def shown(faults: list[str]) -> str:
    """The first `SHOWN` problems, one per line, and the number of further ones."""
    more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return "\n".join(f"  {fault}" for fault in [*faults[:SHOWN], *more])


def make_utterance(
    utterance: str, path: Path, label: Label, attack: str, speaker: str, origin: str, copy_of: str = ""
) -> Utterance:
    """Make an utterance; what is bona fide is a copy of nothing.

    Raises:
        ValueError: the label contradicts the attack, or the name or the attack is empty or holds a space. `parse_all`
            lists these errors with their lines.
    """
    for what, text in (("utterance", utterance), ("attack", attack)):
        if text.split() != [text]:
            raise ValueError(f"{what} {text!r} {'holds a space' if text.strip() else 'is empty'}")
    if (label == "bonafide") != (attack == "-"):
        raise ValueError(f"label {label} does not go with attack {attack!r}")
    return Utterance(utterance, path, label, attack, speaker, origin, copy_of if label == "spoof" else "")


def parse_all(
    listing: Path, rows: Iterable[tuple[int, Row]], parse: Callable[[Row, str], Utterance]
) -> list[Utterance]:
    """Parse all rows and report all errors at once, so that a list can be corrected in one go."""
    utterances: dict[str, Utterance] = {}
    faults = []
    for number, row in rows:
        origin = f"{listing}:{number}"
        try:
            utterance = parse(row, origin)
        except ValueError as error:
            faults.append(f"{origin}: {error}")
            continue
        first = utterances.setdefault(utterance.utterance, utterance)
        if first is not utterance:
            faults.append(f"{origin}: utterance {utterance.utterance!r} stands already at {first.origin}")
    if faults:
        lines = "1 malformed line; mend it" if len(faults) == 1 else f"{len(faults)} malformed lines; mend them"
        raise DataError(f"{listing}: {lines}:\n{shown(faults)}")
    if not utterances:
        raise DataError(f"{listing}: lists no clips")
    return list(utterances.values())


def read_text(path: Path) -> str:
    """Read a text file, UTF-8 with or without a byte order mark.

    Raises:
        DataError: the file cannot be read, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{path}: {reason}; check the path of the data set and its layout") from error
