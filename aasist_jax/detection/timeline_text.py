"""Writes a timeline as JSON and CSV."""

import csv
import io
import json
from dataclasses import asdict
from typing import Any

from aasist_jax.detection.timeline import Segment, Timeline, WindowScore

COLUMNS = ("file", "start", "end", "label", "windows", "lasting", "score_mean", "score_min", "score_max")


def as_json(file: str, timeline: Timeline, *, indent: int | None = 2) -> str:
    """The whole timeline as JSON, with a final line feed; times are seconds from the recording's start."""
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
    """The segments as CSV: a header, then one row per segment."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for segment in timeline.segments:
        writer.writerow([file, *segment_dict(segment).values()])
    return text.getvalue()


def segment_dict(segment: Segment) -> dict[str, Any]:
    """A segment as a dictionary with the keys of `COLUMNS` except `file`."""
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
    """A window as a dictionary for JSON."""
    spoof, bonafide = window.logits or (None, None)
    return {
        "start": window.start,
        "end": window.end,
        "score": bonafide,
        "spoof_logit": spoof,
        "status": window.status,
    }


def clock(seconds: float) -> str:
    """Seconds as [h:]mm:ss.s."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:" if hours else "") + f"{minutes:02}:{rest // 10:02}.{rest % 10}"
