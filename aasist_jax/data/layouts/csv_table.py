"""A data set listed in a CSV file with a header."""

import csv
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from aasist_jax.data.layouts import Layout
from aasist_jax.data.utterances import LABEL_NAMES, Utterance, make_utterance, parse_all, read_text
from aasist_jax.errors import DataError

Row = dict[str | None, str | None]
"""A line of the table by column. If it has too many or too few fields, a key or some values are None."""


def read_csv(path: str | os.PathLike[str], split: str | None = None) -> list[Utterance]:
    """Read clips from a CSV file with a header, in the order of its lines.

    Columns: path (relative to the folder of the CSV file) and label (`LABEL_NAMES`); optionally attack, speaker, split,
    and utterance, which defaults to the path without its suffix. Other columns are ignored.

    Args:
        path: path of the CSV file, UTF-8.
        split: return only the lines of this split. Without a split column, about one speaker in five (or clip, if no
            speaker is given), chosen by a hash of the name, is in `dev` and the others in `train`.

    Raises:
        DataError: there is no such file, column or split, or lines are malformed; the message lists all of these.
    """
    listing = Path(path)
    header, rows = _table(listing)
    if split is not None:
        splits = {row["split"] for _, row in rows}
        if split not in splits:
            raise DataError(
                f"{listing}: no line of split {split!r}; there are: {', '.join(sorted(filter(None, splits)))}"
            )
        # Lines that are too short to have a split are kept, so that they are reported as malformed.
        rows = [(number, row) for number, row in rows if row["split"] in (split, None)]

    def parse(row: Row, origin: str) -> Utterance:
        if None in row or None in row.values():
            raise ValueError(f"not the {len(header)} columns of the header")
        return _utterance({str(column): (text or "").strip() for column, text in row.items()}, listing.parent, origin)

    return parse_all(listing, rows, parse)


def splits_there(path: Path) -> list[str]:
    """The splits of the table, named in it or by default; none if the table cannot be read."""
    try:
        return sorted({split for _, row in _table(path)[1] if (split := row["split"])})
    except DataError:
        return []


def _table(listing: Path) -> tuple[Sequence[str], list[tuple[int, Row]]]:
    """The header, and the number and columns of every line. The split is None if a line is too short."""
    reader = csv.DictReader(io.StringIO(read_text(listing), newline=""), strict=True, skipinitialspace=True)
    rows: list[tuple[int, Row]] = []
    try:
        header = reader.fieldnames or []
        for row in reader:
            split = row["split"] if "split" in header else _default_split(row)
            rows.append((reader.line_num, {**row, "split": split and split.strip()}))
    except csv.Error as error:
        raise DataError(f"{listing}:{reader.line_num}: not CSV ({error})") from error
    if missing := sorted({"path", "label"} - set(header)):
        raise DataError(f"{listing}: no column {', '.join(missing)} in the header: {', '.join(header)}")
    return header, rows


def _utterance(value: Mapping[str, str], folder: Path, origin: str) -> Utterance:
    """The clip of one line, from its columns; raises ValueError for a malformed line."""
    if not value["path"]:
        raise ValueError("no path")
    label = LABEL_NAMES.get(value["label"].lower())
    if label is None:
        raise ValueError(f"label {value['label']!r} is not one of {', '.join(LABEL_NAMES)}")
    clip = Path(value["path"])
    # Names in score files hold no spaces. An utterance that the table itself names is not changed, though.
    utterance = value.get("utterance") or "_".join(clip.with_suffix("").as_posix().split())
    attack = "_".join(value.get("attack", "").split()) or ("-" if label == "bonafide" else "unknown")
    return make_utterance(utterance, folder / clip, label, attack, value.get("speaker") or "-", origin)


def _default_split(row: Row) -> str:
    digest = hashlib.sha256((row.get("speaker") or row.get("path") or "").strip().encode())
    return "dev" if digest.digest()[0] % 5 == 0 else "train"


LAYOUT = Layout(
    name="csv",
    expects="database_path is a CSV file with the columns path and label",
    read=lambda path, split, track: read_csv(path, split),
    splits=lambda path, track: splits_there(path),
)
