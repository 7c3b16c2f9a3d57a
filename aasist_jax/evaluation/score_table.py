"""Finds the columns of a score file: which names the utterance, which is the score, and whether one is the key."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aasist_jax.data.table_words import (
    ATTACK_COLUMNS,
    LABEL_COLUMNS,
    LABEL_NAMES,
    ONE_MEANS,
    PATH_COLUMNS,
    SPEAKER_COLUMNS,
    first_column,
    is_label,
)
from aasist_jax.errors import ScoreFileError, nearest
from aasist_jax.evaluation.text_table import Rows, check_width, first_few, header_of, is_number, read_rows

UTTERANCE_COLUMNS = ("utterance", "filename", "file", "utt", "flac_file_name", "utterance_id", "utt_id", *PATH_COLUMNS)
KEY_COLUMNS = ("key", *LABEL_COLUMNS)
SCORE_COLUMNS = ("score", "cm-score", "cm_score", "scores", "cm_scores")
RISING_WITH_SPOOFS = ("p_spoof", "p_synthetic", "spoof_logit")
"""Columns of the command `score` that are the higher, the more certainly a recording is a spoof."""


@dataclass(frozen=True)
class ScoreTable:
    """The lines of a score file, and what its columns are.

    Attributes:
        rows: Line number and columns of every trial.
        names: What each column is: `utterance`, `score`, `key`, or its name in the header; "" if it is not used.
        label_column: Name of the column of keys in the header; "" without a header or keys.
        is_ours: Whether the command `score` wrote it. Its column `label` is a verdict, not a key.
    """

    rows: Rows
    names: list[str]
    label_column: str = ""
    is_ours: bool = False


def read_score_table(path: Path, name: str = "") -> ScoreTable:
    """Read the lines of a score file and find its columns.

    Args:
        path: The file.
        name: Name of the column of scores in a header, or its number, from 1, in a file without a header. "": the
            column with a usual name, or the only one that there is.

    Raises:
        ScoreFileError: The file cannot be read or is empty, lines differ in length, or it is not clear which column is
            the score.
    """
    rows = list(read_rows(path))
    if not rows:
        raise ScoreFileError(f"{path} is empty; it should hold one score a line")
    header = header_of(rows, UTTERANCE_COLUMNS)
    if header is None:
        names = _without_header(path, rows, name)
        check_width(path, rows, len(names))
        return ScoreTable(rows, names)
    del rows[0]
    check_width(path, rows, len(header))
    if not rows:
        raise ScoreFileError(f"{path} holds a header and no score")
    score = _score_column(path, rows, header, name)
    if is_ours(header):
        ours = {"file": "utterance", score: "score"}
        return ScoreTable(rows, [ours.get(column, "") for column in header], is_ours=True)
    key = key_column(rows, header)
    names = ["score" if column == score else "" if column in SCORE_COLUMNS else column for column in header]
    return ScoreTable(rows, renamed(names, key), key or "")


def is_ours(header: Sequence[str]) -> bool:
    """Whether the command `score` wrote a table: nothing else has these names together."""
    return {"file", "status"} <= set(header) and ("model_id" in header or "weights_id" in header)


def key_column(rows: Rows, header: Sequence[str]) -> str | None:
    """The column of the header that holds the keys; None if none does."""
    usual = first_column(header, KEY_COLUMNS)
    telling = (name for name in header if name in ONE_MEANS and all(map(is_label, _column(rows, header.index(name)))))
    return usual or next(telling, None)


def renamed(header: Sequence[str], key: str | None) -> list[str]:
    """The names of a header, with one name for each of the columns that have several usual ones."""
    names = list(header)
    utterance = first_column(header, UTTERANCE_COLUMNS)
    for usual, found in (
        ("utterance", utterance),
        ("key", key),
        ("speaker", first_column(header, SPEAKER_COLUMNS)),
        ("attack", first_column(header, ATTACK_COLUMNS)),
    ):
        if found is not None:
            names[names.index(found)] = usual
    return names


def _score_column(path: Path, rows: Rows, header: Sequence[str], name: str) -> str:
    """The name of the column of scores in a header."""
    if name:
        if name.lower() not in header:
            raise ScoreFileError(f"{path} has no column {name!r} for --name; {nearest(name, header)}")
        if name.lower() in RISING_WITH_SPOOFS:
            raise ScoreFileError(
                f"{path}: --name {name}: this rises with spoofs, and a score must rise with bona fide speech; take "
                "score or llr"
            )
        return name.lower()
    if usual := first_column(header, SCORE_COLUMNS):
        return usual
    numeric = [column for at, column in enumerate(header) if all(map(is_number, _column(rows, at)))]
    raise ScoreFileError(
        f"{path}: no column {' or '.join(SCORE_COLUMNS[:2])}; say which is the score with --name; "
        f"columns of numbers are: {', '.join(numeric) or 'none'}"
    )


def _without_header(path: Path, rows: Rows, name: str) -> list[str]:
    line, first = rows[0]
    width = len(first)
    if width == 4 and not name:
        return ["utterance", "attack", "key", "score"]
    if width < 2 or (name and not name.isdecimal()):
        fault = f"no header that names a column {name!r}; give its number, from 1" if name else _layouts(width)
        raise ScoreFileError(f"{path}:{line}: {fault}")
    check_width(path, rows, width)
    labels = [at for at in range(1, width) if all(map(is_label, _column(rows, at)))]
    if name:
        score = int(name) - 1
        if not 1 <= score < width:
            raise ScoreFileError(f"{path}:{line}: --name {name}: the score is one of the columns 2 to {width}")
    elif width == 2:
        return ["utterance", "score"]
    elif width == 3 and len(labels) == 1:
        score = 3 - labels[0]
    else:
        raise ScoreFileError(f"{path}:{line}: {_layouts(width)}; or say which column is the score with --name 2")
    key = next((at for at in labels if at != score), None)
    names = [""] * width
    names[0], names[score] = "utterance", "score"
    if key is not None:
        names[key] = "key"
    return names


def _layouts(width: int) -> str:
    return (
        f"{width} columns; a score file has `utterance score`, `utterance score key`, `utterance attack key score`, or "
        "a header such as `filename cm-score`"
    )


def _column(rows: Rows, at: int) -> list[str]:
    return [row[at] for _, row in rows]


def headerless_keys(path: Path, rows: Rows) -> list[str] | None:
    """The columns of keys `utterance key`, or of scores `utterance score key`, without a header; None if it is neither.

    Raises:
        ScoreFileError: Lines differ in length.
    """
    width = len(rows[0][1])
    if width not in (2, 3):
        return None
    check_width(path, rows, width)
    labels = [at for at in range(1, width) if all(map(is_label, _column(rows, at)))]
    if len(labels) != 1 or any(word.lower() in LABEL_NAMES for word in _column(rows, 0)):
        return None
    return ["utterance", *("key" if at == labels[0] else "" for at in range(1, width))]


def told_empty(path: Path, rows: Rows, at: int) -> str:
    """A line about recordings without a score, where column `at` names them."""
    names = [row[at] for _, row in rows]
    return f"{path}: {len(rows)} recordings have no score and are left out, first {first_few(names)}"
