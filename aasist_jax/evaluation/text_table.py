"""Reads tables with one trial per line, as text or as JSON; error messages name the line."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from aasist_jax.data.table_words import is_label
from aasist_jax.errors import ScoreFileError

Rows = list[tuple[int, list[str]]]
"""Line number and columns of every line."""


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and columns of every line that is not blank.

    The columns are separated by tabs, semicolons, commas or spaces, whichever the first line shows. JSON (a list of
    objects) and JSON lines give their names as a first line and then one line for each object.

    Raises:
        ScoreFileError: The file cannot be read, or is not text, CSV or JSON.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ScoreFileError(f"cannot read {path}: {reason}") from error
    first = text.lstrip().partition("\n")[0]
    if first.startswith(("{", "[")):
        yield from _rows_of_objects(path, text)
        return
    separator = _separator(first)
    if separator in (";", ","):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
        try:
            for row in reader:
                if any(word.strip() for word in row):
                    yield reader.line_num, [word.strip() for word in row]
        except csv.Error as error:
            raise ScoreFileError(f"{path}:{reader.line_num}: not CSV ({error})") from error
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, [word.strip() for word in line.split(separator)]


def _separator(first: str) -> str | None:
    """The separator of columns in a first line; None for spaces."""
    if "\t" in first:
        return "\t"
    mark = max(";,", key=first.count)
    if mark not in first:
        return None
    # A name can hold a comma, as in `one,_two - bonafide 1.5`: the last of such columns follows a space.
    words, last = first.split(), first.rsplit(mark, 1)[1].split()
    return None if len(words) > 1 and len(last) > 1 and (is_number(words[-1]) or is_label(words[-1])) else mark


def is_number(word: str) -> bool:
    """Whether a word is a number, with or without a fraction; `nan` and `inf` are."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def _rows_of_objects(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of JSON or JSON lines, beginning with the names of their columns."""
    objects: list[tuple[int, Any]] = []
    number = 1
    try:
        if text.lstrip().startswith("["):
            objects = list(enumerate(json.loads(text), start=1))
        else:
            for number, line in enumerate(text.split("\n"), start=1):
                if line.strip():
                    objects.append((number, json.loads(line)))
    except (ValueError, RecursionError):
        raise ScoreFileError(f"{path}:{number}: not JSON; it should hold one object for each recording") from None
    names: dict[str, None] = {}
    for number, each in objects:
        if not isinstance(each, dict):
            raise ScoreFileError(f"{path}:{number}: not an object with a name and a score")
        names.update(dict.fromkeys(each))
    if names:
        yield 1, list(names)
    for number, each in objects:
        yield number, [_as_text(each.get(name)) for name in names]


def _as_text(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def header_of(rows: Rows, names: Sequence[str]) -> list[str] | None:
    """The first line in lower case, if it holds one of the names and no number; else None."""
    header = [word.lower() for word in rows[0][1]] if rows else []
    return header if set(names) & set(header) and not any(map(is_number, header)) else None


def check_width(path: Path, rows: Sequence[tuple[int, list[str]]], width: int) -> None:
    """Check that all lines have `width` columns.

    Raises:
        ScoreFileError: A line has another number; the message names the first.
    """
    for line, row in rows:
        if len(row) != width:
            raise ScoreFileError(f"{path}:{line}: {len(row)} columns, not the {width} of this layout")


def check_unique(path: Path, utterances: Shaped[np.ndarray, "trials"]) -> None:
    """Check that no utterance occurs more than once.

    Raises:
        ScoreFileError: An utterance does.
    """
    names, counts = np.unique(utterances, return_counts=True)
    twice = names[counts > 1]
    if twice.size:
        raise ScoreFileError(
            f"{path}: {twice.size} utterances come more than once, first {first_few(twice)}; keep one line for each"
        )


def parse_scores(path: Path, words: Sequence[tuple[int, str]]) -> Float[np.ndarray, "trials"]:
    """Parse the scores, given as line number and text.

    Raises:
        ScoreFileError: Some are not finite numbers.
    """
    numbers = np.empty(len(words))
    unusable = []
    for index, (line, word) in enumerate(words):
        try:
            numbers[index] = float(word)
        except ValueError:
            numbers[index] = np.nan
        if not np.isfinite(numbers[index]):
            unusable.append(f"{word!r} on line {line}")
    if unusable:
        raise ScoreFileError(
            f"{path}: {len(unusable)} scores are not finite numbers, first {', '.join(unusable[:3])}; score "
            "those trials again"
        )
    return numbers


def first_few(items: np.ndarray | Sequence[str]) -> str:
    """The first three items, for a message."""
    return ", ".join(str(item) for item in items[:3])
