"""A timeline as JSON, as CSV, and as a table for a terminal."""

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from aasist_jax.detection.inputs import printable
from aasist_jax.detection.timeline import Segment, Timeline, WindowScore
from aasist_jax.errors import ConfigError

COLUMNS = ("file", "start", "end", "label", "windows", "lasting", "score_mean", "score_min", "score_max")
SUFFIXES = (".json", ".csv")
COLOURS = {"bonafide": "green", "spoof": "red", "unjudged": "dim"}


def write_segments(path: Path, file: str, timeline: Timeline) -> None:
    """Write the segments of `file`: `.json` with the windows and the verdict, `.csv` the segments alone."""
    text = as_csv(file, timeline) if path.suffix.lower() == ".csv" else as_json(file, timeline)
    # A file's name need not be text.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def check_output(path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse, before the work, a name that says nothing of the format, or a folder that is not there.

    Raises:
        ConfigError: another suffix; no such folder.
    """
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"{path}: written as {' or '.join(suffixes)}; give a name that ends so")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")


def as_json(file: str, timeline: Timeline, *, indent: int | None = 2) -> str:
    """The whole timeline; times in seconds from the recording's start. Ends with a line feed."""
    document = {
        "file": file,
        "model_id": timeline.model_id,
        "duration": timeline.duration,
        "window": timeline.window,
        "hop": timeline.hop,
        "exact": timeline.exact,
        "verdict": asdict(timeline.verdict),
        "rule": asdict(timeline.rule) | {"text": str(timeline.rule)},
        "segments": [segment_dict(segment) for segment in timeline.segments],
        "windows": [window_dict(window) for window in timeline.windows],
    }
    return json.dumps(document, indent=indent) + "\n"


def as_csv(file: str, timeline: Timeline) -> str:
    """A row for each segment, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for segment in timeline.segments:
        writer.writerow([file, *segment_dict(segment).values()])
    return text.getvalue()


def segment_dict(segment: Segment) -> dict[str, Any]:
    """A segment with the keys of `COLUMNS`, but the file."""
    values = (
        segment.start,
        segment.end,
        segment.label,
        segment.windows,
        segment.lasting,
        segment.mean,
        segment.lowest,
        segment.highest,
    )
    return dict(zip(COLUMNS[1:], values, strict=True))


def window_dict(window: WindowScore) -> dict[str, Any]:
    """A window for JSON."""
    spoof, bonafide = window.logits or (None, None)
    return {
        "start": window.start,
        "end": window.end,
        "score": bonafide,
        "spoof_logit": spoof,
        "status": window.status,
    }


def as_table(file: str, timeline: Timeline) -> Group:
    """Segments and verdict for a terminal."""
    table = Table(box=box.SIMPLE)
    for name in ("from", "to", "label", "mean score", "lowest", "highest"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for segment in timeline.segments:
        scores = (segment.mean, segment.lowest, segment.highest)
        table.add_row(
            clock(segment.start),
            clock(segment.end),
            Text(segment.label, COLOURS[segment.label]),
            *("" if score is None else f"{score:+.3f}" for score in scores),
        )
    found = timeline.verdict
    said = Text(f"{printable(file)}: ")
    said.append(found.label or "nothing to judge", COLOURS.get(found.label or "", ""))
    if found.score is not None:
        said.append(
            f"; mean score {found.score:+.3f}, spoof for {found.spoof_seconds:.1f} s of {found.judged_seconds:.1f} s "
            f"judged, at most {found.longest_spoof:.1f} s on end"
        )
    return Group(table, said, Text(f"The rule: {timeline.rule}.", "dim"))


def clock(seconds: float) -> str:
    """Seconds as [h:]mm:ss.s."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:" if hours else "") + f"{minutes:02}:{rest // 10:02}.{rest % 10}"
