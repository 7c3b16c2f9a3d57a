"""Rows out: JSON lines and CSV as they come, JSON and a table at the end; to standard output or a file, resumable."""

import csv
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from aasist_jax.detection.detector import Windows
from aasist_jax.detection.files import COLUMNS, Row
from aasist_jax.detection.inputs import printable
from aasist_jax.errors import ScoreFileError

Format = Literal["table", "json", "jsonl", "csv"]

LINE_FORMATS = ("jsonl", "csv")
"""Formats that are written row by row, and can be gone on with."""


def write_rows(rows: Iterable[Row], format: Format, write: Callable[[str], object], *, header: bool = True) -> None:
    """Write rows as text; a table goes to standard output.

    JSON lines and CSV are written row by row. A table and JSON need all rows; where the rows end early, by an
    interruption say, those that came are written all the same.
    """
    if format in LINE_FORMATS:
        if format == "csv" and header:
            write(_csv_line(COLUMNS))
        for row in rows:
            write(_line(row, format))
        return
    seen: list[Row] = []
    try:
        seen.extend(rows)
    finally:
        if format == "json":
            write(json.dumps([row.as_dict() for row in seen], indent=2) + "\n")
        else:
            Console().print(_table(seen))


def _line(row: Row, format: Format) -> str:
    values = row.as_dict()
    return json.dumps(values) + "\n" if format == "jsonl" else _csv_line(values[name] for name in COLUMNS)


def _csv_line(values: Iterable[object]) -> str:
    text = StringIO()
    # What stands in the line end is quoted where it stands in a name: both of its characters must be.
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue()[:-2] + "\n"


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
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


@contextmanager
def opened_output(
    path: Path, format: Format, identity: Identity, *, resume: bool
) -> Iterator[tuple[TextIOWrapper, dict[str, str]]]:
    """Open a file to append rows to, by one process at a time.

    Beside it lies `PATH.identity.json`. A last row that was only half written is cut off.

    Yields:
        The file, and the outcomes (see `Row`) of the rows that are there, by the file's name as it is written.

    Raises:
        ScoreFileError: the file is there and `resume` is not asked for; it holds scores of another kind, or is no
            file of scores; another process writes it.
    """
    identity_path = path.with_name(path.name + ".identity.json")
    with opened_to_append(path) as file:
        outcomes: dict[str, str] = {}
        if os.fstat(file.fileno()).st_size:
            if not resume:
                raise ScoreFileError(f"{path}: is there already; go on with it by --resume, or remove it")
            _check_identity(path, identity_path, identity)
            outcomes, whole = _rows_there(path, format)
            file.truncate(whole)
        if format in LINE_FORMATS:
            replace_text(identity_path, json.dumps(asdict(identity)) + "\n")
        yield file, outcomes


@contextmanager
def opened_to_append(path: Path) -> Iterator[TextIOWrapper]:
    """Open a text file to append to, by one process at a time, and make its folder.

    Raises:
        ScoreFileError: another process writes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8", errors="backslashreplace", newline="") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ScoreFileError(f"{path}: another process is writing it; wait for it, or name another file") from None
        yield file


def replace_text(path: Path, text: str) -> None:
    """Write a text file so that whoever reads it finds the old text or the new one, never half of either."""
    scratch = path.with_name(path.name + ".writing")
    scratch.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(scratch, path)


def as_written(name: str) -> str:
    """A file's name as a score file of any format holds it."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _check_identity(path: Path, identity_path: Path, identity: Identity) -> None:
    try:
        before = json.loads(identity_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ScoreFileError(
            f"{path}: cannot go on with it, since {identity_path.name} is missing or damaged; give another --out"
        ) from None
    now = asdict(identity)
    differing = [name for name in now if not isinstance(before, dict) or before.get(name) != now[name]]
    if differing:
        raise ScoreFileError(f"{path}: its scores are of another {' and '.join(differing)}; give another --out")


def _rows_there(path: Path, format: Format) -> tuple[dict[str, str], int]:
    """The outcomes of the whole rows by name, and the bytes up to the end of the last of them."""
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


def _table(rows: list[Row]) -> Table:
    table = Table(box=box.SIMPLE)
    calibrated = any(row.result and row.result.llr is not None for row in rows)
    table.add_column("file", overflow="fold")
    for name in ("label", "score", "seconds", "status"):
        table.add_column(name, justify="right" if name in ("score", "seconds") else "left")
    for name in ("LLR", "P(spoof)") if calibrated else ():
        table.add_column(name, justify="right")
    for row in rows:
        result = row.result
        file = Text(printable(row.file))
        if result is None:
            table.add_row(file, "", "", "", Text("error", "red"))
            continue
        colour = {"bonafide": "green", "spoof": "red"}.get(result.label or "", "")
        score = "" if result.score is None else f"{result.score:+.3f}"
        label = Text(result.label or "-", colour)
        cells: list[RenderableType] = [label, score, f"{result.duration:.2f}", result.status]
        if calibrated:
            cells.append("" if result.llr is None else f"{result.llr:+.2f}")
            cells.append("" if row.p_spoof is None else f"{row.p_spoof:.3f}")
        table.add_row(file, *cells)
    return table
