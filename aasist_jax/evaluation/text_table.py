"""Reads text tables with one trial per line; error messages name the line."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from aasist_jax.errors import ScoreFileError


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and columns of every line that is not blank.

    The columns are separated by tabs if the first line contains one, else by commas, else by spaces.

    Raises:
        ScoreFileError: The file cannot be read, or is not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ScoreFileError(f"cannot read {path}: {reason}") from error
    first = text.partition("\n")[0]
    separator = next((mark for mark in "\t," if mark in first), None)
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, [word.strip() for word in line.split(separator)]


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


def first_few(items: np.ndarray) -> str:
    """The first three items, for a message."""
    return ", ".join(str(item) for item in items[:3])
