"""Rows of scores as text: JSON lines and CSV, written row by row and read back, and JSON."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Any, Literal

from aasist_jax.detection.detector import Windows
from aasist_jax.detection.files import COLUMNS, Row
from aasist_jax.detection.resumable_rows import as_written, opened_to_append, take_up_rows
from aasist_jax.errors import ScoreFileError
from aasist_jax.runtime.files import sha256_of

Format = Literal["json", "jsonl", "csv"]

LINE_FORMATS = ("jsonl", "csv")
"""Formats that are written row by row, and can be gone on with."""


@dataclass(frozen=True)
class Identity:
    """What the rows of one file have in common; rows scored otherwise do not belong into it.

    Attributes:
        model_id: the model.
        calibration: SHA-256 of the calibration, or ''.
        windows: as in `Detector.score`.
        p_spoof: the prior of a spoof that was stated.
        channel: as in `Detector.score`.
    """

    model_id: str
    calibration: str
    windows: Windows
    p_spoof: float | None
    channel: int | None = None

    @staticmethod
    def calibration_of(file: Path) -> str:
        """The SHA-256 of a calibration file, or '' where there is none."""
        return sha256_of(file) if file.is_file() else ""


def write_rows(rows: Iterable[Row], format: Format, write: Callable[[str], object], *, header: bool = True) -> None:
    """Write rows as text.

    JSON lines and CSV are written row by row. JSON needs all rows; where they end early, by an interruption say, those
    that came are written all the same.

    Args:
        rows: what to write.
        format: of the text.
        write: takes the text, piece by piece.
        header: whether CSV begins with the names of the columns.
    """
    if format == "json":
        seen: list[Row] = []
        try:
            seen.extend(rows)
        finally:
            write(json.dumps([row.as_dict() for row in seen], indent=2) + "\n")
        return
    if format == "csv" and header:
        write(_csv_line(COLUMNS))
    for row in rows:
        values = row.as_dict()
        write(json.dumps(values) + "\n" if format == "jsonl" else _csv_line(values[name] for name in COLUMNS))


def _csv_line(values: Iterable[object]) -> str:
    text = StringIO()
    # What stands in the line end is quoted where it stands in a name: both of its characters must be.
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue()[:-2] + "\n"


@contextmanager
def opened_output(
    path: Path, format: Format, identity: Identity, *, resume: bool
) -> Iterator[tuple[TextIOWrapper, dict[str, str]]]:
    """Open a file to write rows to, by one process at a time; see `resumable_rows`.

    Yields:
        The file, and the outcomes (see `Row`) of the rows that are there, by the file's name as it is written.

    Raises:
        ScoreFileError: the file is there and `resume` is not asked for; it holds scores of another kind, or is no
            file of scores; another process writes it.
    """
    with opened_to_append(path) as file:
        if path.stat().st_size and not resume:
            raise ScoreFileError(f"{path}: is there already; go on with it by --resume, or remove it")
        outcomes: dict[str, str] | None = None
        if format in LINE_FORMATS or resume:
            read = partial(read_outcomes, format=format)
            outcomes = take_up_rows(file, path, asdict(identity), read, way_out="give another --out")
        yield file, outcomes or {}


def read_outcomes(path: Path, format: Format) -> tuple[dict[str, str], int]:
    """The outcomes of the whole rows by name, and the bytes up to the end of the last of them.

    Raises:
        ScoreFileError: a line that is whole is no row of this format.
    """
    end, is_read = 0, False

    def lines(file: Iterable[bytes]) -> Iterator[str]:
        nonlocal end, is_read
        for line in file:
            # A row without its end was cut short, even in the midst of a character.
            if not line.endswith(b"\n"):
                break
            end += len(line)
            yield line.decode("utf-8")
        is_read = True

    outcomes: dict[str, str] = {}
    whole = 0
    try:
        with path.open("rb") as file:
            if format == "jsonl":
                rows: Iterator[Any] = map(json.loads, lines(file))
            else:
                reader = csv.reader(lines(file), strict=True)
                if (header := next(reader, None)) not in (None, list(COLUMNS)):
                    raise ValueError(f"{header} is no header of scores")
                whole = end
                rows = (dict(zip(COLUMNS, values, strict=True)) for values in reader)
            for row in rows:
                outcomes[as_written(row["file"])] = _outcome(row["status"], row["label"])
                whole = end
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        # A name may hold line ends, in quotes; where the last quote is not closed, the row was cut short.
        if not (isinstance(error, csv.Error) and is_read):
            fault = "holds a line that is no row"
            raise ScoreFileError(f"{path}: {fault} of {format} scores; give another --out") from None
    return outcomes, whole


def _outcome(status: str, label: str | None) -> str:
    return "error" if status == "error" else label or ""
