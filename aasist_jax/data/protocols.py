"""Lists of labelled clips: the ASVspoof 2019 layout and plain CSV files."""

import csv
import hashlib
import io
import os
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

ASVSPOOF2019_LISTS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}

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


def read_asvspoof2019_la(database_path: str | os.PathLike[str], split: str, track: str = "LA") -> list[Utterance]:
    """Read one split of ASVspoof 2019 as published, in the order of its protocol.

    Under `database_path` lie `ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt` (dev.trl,
    eval.trl) with lines `speaker utterance environment attack key`, and the clips,
    `ASVspoof2019_LA_train/flac/UTTERANCE.flac`.

    Args:
        database_path: the folder of the unpacked database.
        split: train, dev or eval.
        track: LA; the physical-access track PA has the same layout.

    Raises:
        DataError: no such split or protocol; malformed lines, all of them in one message.
    """
    if split not in ASVSPOOF2019_LISTS:
        raise DataError(f"split {split!r} is not one of {', '.join(ASVSPOOF2019_LISTS)}")
    name = f"ASVspoof2019_{track}"
    protocol = Path(database_path, f"{name}_cm_protocols", f"ASVspoof2019.{track}.cm.{ASVSPOOF2019_LISTS[split]}.txt")
    flac_folder = Path(database_path, f"{name}_{split}", "flac")

    def parse(columns: list[str], origin: str) -> Utterance:
        if len(columns) != 5:
            raise ValueError(f"{len(columns)} columns, not the 5 of: speaker utterance environment attack key")
        speaker, utterance, _, attack, key = columns
        if key not in ("bonafide", "spoof"):
            raise ValueError(f"key {key!r} is neither bonafide nor spoof")
        if os.path.basename(utterance) != utterance:
            raise ValueError(f"utterance {utterance!r} is not a plain file name")
        return _utterance(utterance, flac_folder / f"{utterance}.flac", LABEL_NAMES[key], attack, speaker, origin)

    lines = enumerate(_text(protocol).splitlines(), start=1)
    return _parse_all(protocol, ((number, line.split()) for number, line in lines if line.strip()), parse)


def read_csv(path: str | os.PathLike[str], split: str | None = None) -> list[Utterance]:
    """Read clips from a CSV file with a header, in the order of its lines.

    Columns: path (relative ones start at the CSV's own folder) and label (`LABEL_NAMES`); optionally attack,
    speaker, split, and utterance, which defaults to the path without its suffix. Others are ignored.

    Args:
        path: of the CSV file, UTF-8.
        split: keep only the lines whose split column says this. Without such a column every fifth speaker (or
            clip, where no speaker is named), picked by a hash of the name, is `dev` and the others are `train`.

    Raises:
        DataError: no such file, column or split; malformed lines, all of them in one message.
    """
    listing = Path(path)
    reader = csv.DictReader(io.StringIO(_text(listing), newline=""), strict=True, skipinitialspace=True)
    try:
        header = reader.fieldnames or []
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(f"{listing}:{reader.line_num}: not CSV ({error})") from error
    if missing := sorted({"path", "label"} - set(header)):
        raise DataError(f"{listing}: no column {', '.join(missing)} in the header: {', '.join(header)}")
    if "split" not in header:
        rows = [(number, row | {"split": _default_split(row)}) for number, row in rows]
    if split is not None:
        rows = [(number, row | {"split": row["split"] and row["split"].strip()}) for number, row in rows]
        splits = {row["split"] for _, row in rows}
        if split not in splits:
            raise DataError(
                f"{listing}: no line of split {split!r}; there are: {', '.join(sorted(filter(None, splits)))}"
            )
        rows = [(number, row) for number, row in rows if row["split"] in (split, None)]

    def parse(row: dict[str | None, str | None], origin: str) -> Utterance:
        if None in row or None in row.values():
            raise ValueError(f"not the {len(header)} columns of the header")
        value = {column: (text or "").strip() for column, text in row.items()}
        if not value["path"]:
            raise ValueError("no path")
        label = LABEL_NAMES.get(value["label"].lower())
        if label is None:
            raise ValueError(f"label {value['label']!r} is not one of {', '.join(LABEL_NAMES)}")
        clip = Path(value["path"])
        # Score files separate their columns by spaces.
        utterance = value.get("utterance") or "_".join(clip.with_suffix("").as_posix().split())
        if utterance.split() != [utterance]:
            raise ValueError(f"utterance {utterance!r} holds a space")
        attack = value.get("attack") or ("-" if label == "bonafide" else "unknown")
        return _utterance(utterance, listing.parent / clip, label, attack, value.get("speaker") or "-", origin)

    return _parse_all(listing, rows, parse)


def shown(faults: list[str]) -> str:
    """The first `SHOWN` faults, one a line, and how many more there are."""
    more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return "\n".join(f"  {fault}" for fault in [*faults[:SHOWN], *more])


def _default_split(row: dict[str | None, str | None]) -> str:
    digest = hashlib.sha256((row.get("speaker") or row.get("path") or "").strip().encode())
    return "dev" if digest.digest()[0] % 5 == 0 else "train"


def _utterance(utterance: str, path: Path, label: Label, attack: str, speaker: str, origin: str) -> Utterance:
    if (label == "bonafide") != (attack == "-"):
        raise ValueError(f"label {label} does not go with attack {attack!r}")
    return Utterance(utterance, path, label, attack, speaker, origin)


def _parse_all(
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


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{path}: {reason}; check the path of the data set and its layout") from error
