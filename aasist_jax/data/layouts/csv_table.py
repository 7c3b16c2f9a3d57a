"""A table of clips: a CSV file with a header."""

import csv
import hashlib
import io
import os
from pathlib import Path

from aasist_jax.data.utterances import LABEL_NAMES, Utterance, make_utterance, parse_all, read_text
from aasist_jax.errors import DataError


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
    reader = csv.DictReader(io.StringIO(read_text(listing), newline=""), strict=True, skipinitialspace=True)
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
        return make_utterance(utterance, listing.parent / clip, label, attack, value.get("speaker") or "-", origin)

    return parse_all(listing, rows, parse)


def _default_split(row: dict[str | None, str | None]) -> str:
    digest = hashlib.sha256((row.get("speaker") or row.get("path") or "").strip().encode())
    return "dev" if digest.digest()[0] % 5 == 0 else "train"
