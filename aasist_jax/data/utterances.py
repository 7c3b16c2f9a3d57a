"""A labelled clip, and what the readers of every layout share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from aasist_jax.errors import DataError

Label = Literal["bonafide", "spoof"]

LABEL_NAMES: dict[str, Label] = {
    "bonafide": "bonafide",
    "bona-fide": "bonafide",
    "genuine": "bonafide",
    "real": "bonafide",
    "human": "bonafide",
    "spoof": "spoof",
    "fake": "spoof",
    "synthetic": "spoof",
}
"""The words that a CSV file may use for the two labels, in any case."""

SHOWN = 20
"""How many faults a message lists before it only counts them."""

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip and what is known about it.

    `attack` is "-" for bona fide speech, and "unknown" for a spoof of unstated kind; `speaker` is "-" where
    unknown. `origin` is the FILE:LINE that lists the clip, for messages.
    """

    utterance: str
    path: Path
    label: Label
    attack: str
    speaker: str
    origin: str


def shown(faults: list[str]) -> str:
    """The first `SHOWN` faults, one a line, and how many more there are."""
    more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return "\n".join(f"  {fault}" for fault in [*faults[:SHOWN], *more])


def make_utterance(utterance: str, path: Path, label: Label, attack: str, speaker: str, origin: str) -> Utterance:
    """Make an utterance; a label and an attack that do not go together are a ValueError."""
    if (label == "bonafide") != (attack == "-"):
        raise ValueError(f"label {label} does not go with attack {attack!r}")
    return Utterance(utterance, path, label, attack, speaker, origin)


def parse_all(
    listing: Path, rows: Iterable[tuple[int, Row]], parse: Callable[[Row, str], Utterance]
) -> list[Utterance]:
    """Parse every row before complaining, so that a list is mended in one go."""
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
        raise DataError(f"{listing}: {len(faults)} malformed lines; mend them:\n{shown(faults)}")
    if not utterances:
        raise DataError(f"{listing}: lists no clips")
    return list(utterances.values())


def read_text(path: Path) -> str:
    """Read a text file, UTF-8 with or without a byte order mark.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{path}: {reason}; check the path of the data set and its layout") from error
