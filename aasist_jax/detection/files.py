"""Score many files and print the results: the work behind `aasist-jax score`."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from aasist_jax.detection.detector import CALIBRATION_FILE, Detector, Score, Windows
from aasist_jax.errors import AudioError, WeightsError

COLUMNS = (
    "file",
    "label",
    "score",
    "duration",
    "status",
    "spoof_logit",
    "bonafide_logit",
    "model_id",
    "llr",
    "p_spoof",
    "error",
)


@dataclass(frozen=True)
class Row:
    """One input file: its score, or why there is none."""

    file: str
    result: Score | None
    error: str = ""
    p_spoof: float | None = None
    """Posterior probability of a spoof, where a prior was stated."""

    def as_dict(self) -> dict[str, object]:
        """Flatten for JSON and CSV; the same keys in every row."""
        result = self.result
        spoof, bonafide = result.logits if result and result.logits else (None, None)
        values = (
            self.file,
            result.label if result else None,
            result.score if result else None,
            result.duration if result else None,
            result.status if result else "error",
            spoof,
            bonafide,
            result.model_id if result else None,
            result.llr if result else None,
            self.p_spoof,
            self.error or None,
        )
        return dict(zip(COLUMNS, values, strict=True)) | (
            {"window_scores": list(result.window_scores)} if result and len(result.window_scores) > 1 else {}
        )


def score_files(files: Iterable[Path], weights: Path, windows: Windows, p_spoof: float | None = None) -> Iterator[Row]:
    """Score files one after another; a file that cannot be scored gives a row that says why.

    Raises:
        WeightsError: a prior is stated and the weights have no calibration to apply it to.
    """
    detector = Detector.from_pretrained(weights)
    if p_spoof is not None and detector.calibration is None:
        raise WeightsError(
            f"--p-spoof: {weights} has no {CALIBRATION_FILE}; fit one on development scores with "
            f"`aasist-jax calibrate --scores FILE --out {weights / CALIBRATION_FILE}`"
        )
    return (_score_file(detector, file, windows, p_spoof) for file in files)


def _score_file(detector: Detector, file: Path, windows: Windows, p_spoof: float | None) -> Row:
    try:
        result = detector.score(file, windows=windows)
        posterior = None if p_spoof is None else result.probability_of_spoof(p_spoof)
        return Row(str(file), result, p_spoof=posterior)
    except AudioError as error:
        return Row(str(file), None, str(error))


def print_rows(rows: Iterable[Row], format: str) -> int:
    """Print rows on standard output, JSON lines and CSV as they come; return how many have no score.

    Errors are told on standard error as well, so that they are seen where the output goes to a file.
    """
    failed = 0

    def watched() -> Iterator[Row]:
        nonlocal failed
        for row in rows:
            if row.error:
                failed += 1
                print(f"error: {row.error}", file=sys.stderr)
            yield row

    if format == "jsonl":
        for row in watched():
            print(json.dumps(row.as_dict()), flush=True)
    elif format == "json":
        print(json.dumps([row.as_dict() for row in watched()], indent=2))
    elif format == "csv":
        writer = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in watched():
            writer.writerow(row.as_dict())
    else:
        Console().print(_table(watched()))
    return failed


def _table(rows: Iterable[Row]) -> Table:
    table = Table(box=box.SIMPLE)
    rows = list(rows)
    calibrated = any(row.result and row.result.llr is not None for row in rows)
    table.add_column("file", overflow="fold")
    for name in ("label", "score", "seconds", "status"):
        table.add_column(name, justify="right" if name in ("score", "seconds") else "left")
    for name in ("LLR", "P(spoof)") if calibrated else ():
        table.add_column(name, justify="right")
    for row in rows:
        result = row.result
        # A terminal would obey what an unprintable name holds.
        file = Text(row.file if row.file.isprintable() else repr(row.file))
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
