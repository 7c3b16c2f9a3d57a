"""A data set listed in a CSV file with a header."""

import csv
import functools
import hashlib
import io
import itertools
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from aasist_jax.data.layouts import Layout
from aasist_jax.data.table_words import (
    ATTACK_COLUMNS,
    AUDIO_SUFFIXES,
    LABEL_COLUMNS,
    LABEL_NAMES,
    ONE_MEANS,
    PATH_COLUMNS,
    SPEAKER_COLUMNS,
    SPLIT_COLUMNS,
    Label,
    first_column,
    label_meanings,
)
from aasist_jax.data.utterances import Utterance, make_utterance, parse_all, read_text
from aasist_jax.errors import DataError

logger = logging.getLogger(__name__)

Row = dict[str | None, str | None]
"""A line of the table by column. If it has too many or too few fields, a key or some values are None."""

SPLIT_NAMES = {
    "train": ("training",),
    "dev": ("development", "val", "valid", "validation"),
    "eval": ("evaluation", "test", "testing"),
}
"""Other names that the splits have in tables. They count where a table has no split of the name itself."""


def read_csv(
    path: str | os.PathLike[str],
    split: str | None = None,
    bonafide_is: str = "",
    *,
    way_out: str = "--set data_config.bonafide_is=1",
) -> list[Utterance]:
    """Read clips from a CSV file with a header, in the order of its lines.

    The separator is a comma, a semicolon or a tab, whichever the header shows. Columns: path (relative to the folder of
    the CSV file) and label (`LABEL_NAMES`); optionally attack, speaker, split, utterance, which defaults to the
    path without its suffix, and copy_of, the utterance (or path) that a spoof was made from. `table_words` lists the
    other names that these columns can have. Other columns are ignored.

    Args:
        path: path of the CSV file, UTF-8.
        split: return only the lines of this split (see `SPLIT_NAMES`). Without a split column, about one speaker in
            five (or clip, if no speaker is given), chosen by a hash of the name, is in `dev` and the others in `train`.
        bonafide_is: which label means bona fide, such as "1", where labels are numbers.
        way_out: the option that says so, for the message where it is missing.

    Raises:
        DataError: there is no such file, column or split, labels are numbers and nothing says what they mean, or lines
            are malformed; the message lists all of these.
    """
    listing = Path(path)
    header, label_column, rows = _table(listing)
    meanings = label_meanings((row.get("label") or "" for _, row in rows), label_column, bonafide_is)
    if meanings.problem:
        raise DataError(f"{listing}: {meanings.problem}; say it with {way_out}")
    if meanings.note:
        _tell_once(f"{listing}: {meanings.note}")
    if split is not None and rows:
        splits = {row["split"] for _, row in rows} - {None, ""}
        named = _named_splits(splits, split)
        if not named:
            raise DataError(
                f"{listing}: no line of split {split!r}; there are: {', '.join(sorted(filter(None, splits)))}"
            )
        # Lines that are too short to have a split are kept, so that they are reported as malformed.
        rows = [(number, row) for number, row in rows if row["split"] in named or row["split"] is None]

    def parse(row: Row, origin: str) -> Utterance:
        if None in row or None in row.values():
            raise ValueError(f"not the {len(header)} columns of the header")
        values = {str(column): (text or "").strip() for column, text in row.items()}
        return _utterance(values, meanings.labels, listing.parent, origin)

    return parse_all(listing, rows, parse)


def splits_there(path: Path) -> list[str]:
    """The splits of the table, named in it or by default; none if the table cannot be read."""
    try:
        there = {split for _, row in _table(path)[2] if (split := row["split"])}
    except DataError:
        return []
    return sorted(there | {split for split in SPLIT_NAMES if _named_splits(there, split)})


def _named_splits(there: set[str | None] | set[str], split: str) -> set[str]:
    """The names under which a table has a split: its own, or else others of `SPLIT_NAMES`."""
    if split in there:
        return {split}
    return {name for name in there if name and name.lower() in (split, *SPLIT_NAMES.get(split, ()))}


@functools.cache
def _tell_once(note: str) -> None:
    """Log a note, once for all splits."""
    logger.warning("%s", note)


def _table(listing: Path) -> tuple[Sequence[str], str, list[tuple[int, Row]]]:
    """The header, the name of its column of labels, and the number and columns of every line.

    Columns have their first usual name. The split of a line is None if the line is too short.
    """
    text = read_text(listing)
    separator = max(",;\t", key=text.lstrip().partition("\n")[0].count)
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=separator != "\t"
    )
    rows: list[tuple[int, Row]] = []
    try:
        first = reader.fieldnames or []
        header, label_column = _columns(listing, first)
        reader.fieldnames = header
        lines = [(reader.line_num, row) for row in reader]
        has_splits = "split" in header and _names_splits(first, (row["split"] for _, row in lines))
        for number, row in lines:
            split = row["split"] if has_splits else _default_split(row)
            rows.append((number, {**row, "split": split and split.strip()}))
    except csv.Error as error:
        raise DataError(f"{listing}:{reader.line_num}: not CSV ({error})") from error
    return header, label_column, rows


def _names_splits(first_line: Sequence[str], values: Iterable[str | None]) -> bool:
    """Whether a column says which split a clip is in: one called `split` does, another, such as `fold`, may not."""
    if "split" in (word.strip().lower() for word in first_line):
        return True
    words = {*SPLIT_NAMES, *itertools.chain(*SPLIT_NAMES.values())}
    return any(value is not None and value.strip().lower() in words for value in values)


def _columns(listing: Path, first_line: Sequence[str]) -> tuple[list[str], str]:
    """The header with one name for each of the columns that have several, and what it calls the column of labels."""
    if not first_line:
        raise DataError(f"{listing}: is empty; its first line should name the columns, as in path,label")
    header = [word.strip() for word in first_line]
    lower = [word.lower() for word in header]
    label = first_column(lower, (*LABEL_COLUMNS, *ONE_MEANS))
    found = {
        "path": first_column(lower, PATH_COLUMNS),
        "label": label,
        "split": first_column(lower, SPLIT_COLUMNS),
        "speaker": first_column(lower, SPEAKER_COLUMNS),
        "attack": first_column(lower, ATTACK_COLUMNS),
        "utterance": first_column(lower, ("utterance",)),
    }
    for usual, name in found.items():
        if name is not None:
            header[lower.index(name)] = usual
    if missing := sorted({"path", "label"} - set(header)):
        if any(word in LABEL_NAMES or Path(word).suffix in AUDIO_SUFFIXES for word in lower):
            raise DataError(
                f"{listing}: its first line is a clip already; put a line above it that names the columns, as in "
                "path,label"
            )
        also = {"path": PATH_COLUMNS, "label": LABEL_COLUMNS}
        names = "; ".join(f"{name} (or {', '.join(also[name][1:5])})" for name in missing)
        raise DataError(f"{listing}: no column {names} in the header: {', '.join(first_line)}")
    return header, label or ""


def _utterance(value: Mapping[str, str], labels: Mapping[str, Label], folder: Path, origin: str) -> Utterance:
    """The clip of one line, from its columns; raises ValueError for a malformed line."""
    if not value["path"]:
        raise ValueError("no path")
    label = labels.get(value["label"].lower())
    if label is None:
        raise ValueError(f"label {value['label']!r} is not one of {', '.join(LABEL_NAMES)}")
    clip = Path(value["path"])
    # An utterance that the table itself names is not changed.
    utterance = value.get("utterance") or _name(clip)
    original = value.get("copy_of", "")
    if Path(original).suffix.lower() in AUDIO_SUFFIXES:
        original = _name(Path(original))
    attack = "_".join(value.get("attack", "").split()) or ("-" if label == "bonafide" else "unknown")
    if label == "bonafide" and LABEL_NAMES.get(attack.lower()) == "bonafide":
        attack = "-"
    return make_utterance(utterance, folder / clip, label, attack, value.get("speaker") or "-", origin, original)


def _name(clip: Path) -> str:
    """The name of a clip by its path; names in score files hold no spaces."""
    return "_".join(clip.with_suffix("").as_posix().split())


def _default_split(row: Row) -> str:
    digest = hashlib.sha256((row.get("speaker") or row.get("path") or "").strip().encode())
    return "dev" if digest.digest()[0] % 5 == 0 else "train"


LAYOUT = Layout(
    name="csv",
    expects="database_path is a CSV file with the columns path and label",
    read=lambda path, split, track, bonafide_is="": read_csv(path, split, bonafide_is),
    splits=lambda path, track: splits_there(path),
    takes_bonafide_is=True,
)
