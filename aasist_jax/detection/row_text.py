"""Rows of scores as text: JSON, JSON lines and CSV. The latter two are written row by row and can be read back."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Any, Literal

from aasist_jax.detection.files import COLUMNS, Row
from aasist_jax.detection.inputs import Recording
from aasist_jax.detection.resumable_rows import as_written, opened_to_append, take_up_rows
from aasist_jax.errors import ScoreFileError

Format = Literal["json", "jsonl", "csv"]

LINE_FORMATS = ("jsonl", "csv")
"""Formats that are written row by row, so that an interrupted run can be resumed."""


@dataclass(frozen=True)
class Identity:
    """What all rows of one file have in common. A run with other values must not add rows to it.

    Attributes:
        model_id: identifies weights and calibration.
        prior: as in `DecisionRule`.
        sure: as in `DecisionRule`.
        published: as in `Detector.score`.
        channel: as in `Detector.score`, or `each`.
    """

    model_id: str
    prior: float
    sure: float
    published: bool
    channel: int | Literal["each"] | None = None


def write_rows(rows: Iterable[Row], format: Format, write: Callable[[str], object], *, header: bool = True) -> None:
    """Write rows as text.

    JSON lines and CSV are written row by row. JSON is written once all rows have arrived; after an interruption it
    holds the rows up to then.

    Args:
        rows: the rows to write.
        format: the format of the text.
        write: called with each piece of text.
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
    # The writer quotes values that contain a character of its line end, so "\r\n" makes it quote both characters.
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue()[:-2] + "\n"


@contextmanager
def opened_output(
    path: Path, format: Format, identity: Identity, *, resume: bool
) -> Iterator[tuple[TextIOWrapper, dict[str, str]]]:
    """Open a file for writing rows, locked against other processes; see `resumable_rows`.

    Yields:
        The file, and the outcomes (see `Row`) of its existing rows by the name of the scored file, as written.

    Raises:
        ScoreFileError: the file exists and `resume` is False; or it holds scores of another kind or is not a file of
            scores; or another process is writing it.
    """
    with opened_to_append(path) as file:
        if path.stat().st_size and not resume:
            raise ScoreFileError(f"{path}: is there already; go on with it by --resume, or remove it")
        outcomes: dict[str, str] | None = None
        if format in LINE_FORMATS or resume:
            read = partial(read_outcomes, format=format)
            outcomes = take_up_rows(file, path, asdict(identity), read, way_out="give another --output")
        yield file, outcomes or {}


def read_outcomes(path: Path, format: Format) -> tuple[dict[str, str], int]:
    """Read the outcomes of the complete rows by name, and the bytes up to the end of the last one.

    Raises:
        ScoreFileError: a complete line is not a row of this format.
    """
    end, is_read = 0, False

    def lines(file: Iterable[bytes]) -> Iterator[str]:
        nonlocal end, is_read
        for line in file:
            # A row without a line end was cut short, perhaps even in the middle of a character.
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
                channel = row["channel"]
                recording = Recording(row["file"], channel=int(channel) if channel not in (None, "") else None)
                outcomes[as_written(recording.title)] = _outcome(row["status"], row["label"])
                whole = end
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        # A quoted name may contain line ends. If the last quote is not closed, the last row was cut short.
        if not (isinstance(error, csv.Error) and is_read):
            fault = "holds a line that is no row"
            raise ScoreFileError(f"{path}: {fault} of {format} scores; give another --output") from None
    return outcomes, whole


def _outcome(status: str, label: str | None) -> str:
    return "error" if status == "error" else label or ""
