"""Writes a timeline as JSON and CSV."""

import csv
import io
import json
from dataclasses import asdict
from typing import Any

from aasist_jax.detection.files import result_dict
from aasist_jax.detection.result import Score, Timeline
from aasist_jax.detection.timeline import Segment, WindowScore
from aasist_jax.detection.verdict import CHANNELS_DIFFER

COLUMNS = ("file", "start", "end", "label", "p_synthetic", "score", "windows")


def as_json(file: str, timeline: Timeline, *, indent: int | None = 2) -> str:
    """The whole timeline as JSON, with a final line feed; times are seconds from the recording's start."""
    document = {
        "file": file,
        **result_dict(timeline.score),
        "rule": asdict(timeline.verdict.rule),
        "window": timeline.window,
        "hop": timeline.hop,
        "exact": timeline.exact,
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
    return {name: getattr(segment, name) for name in COLUMNS[1:]}


def window_dict(window: WindowScore) -> dict[str, Any]:
    """A window as a dictionary for JSON."""
    spoof, bonafide = window.logits or (None, None)
    return {
        "start": window.start,
        "end": window.end,
        "score": bonafide,
        "spoof_logit": spoof,
        "llr": window.llr,
        "status": window.status,
    }


def sentence(result: Score) -> str:
    """How sure a verdict is, and what it rests on, in a line for people."""
    verdict = result.verdict
    assert verdict is not None
    if result.heard_seconds == 0:
        return f"Nothing of {_length(result.seconds)} was heard: {told_reasons(result)}."
    speech = _length(result.speech_seconds)
    speech = "all" if speech == _length(result.seconds) else speech
    heard = f"Heard {heard_of(result.heard_seconds, result.seconds)}; {speech} of the recording is speech."
    if verdict.llr is None or verdict.p_synthetic is None:
        return f"No probability is given: {told_reasons(result)}. {heard}"
    beside = f" Take note: {told_reasons(result)}." if verdict.reasons else ""
    sure = verdict.rule.sure
    return (
        f"P(synthetic) {verdict.p_synthetic:.3f}, where human needs {1 - sure:.6g} or less and synthetic {sure:g} or "
        f"more; {verdict.evidence} (LLR {verdict.llr:+.2f}, prior {verdict.rule.prior:g}).{beside} {heard}"
    )


def told_reasons(result: Score) -> str:
    """The reasons, with the labels of both channels where these differ."""
    sides = " and ".join(side.label or "" for side in result.channels)
    return ", ".join(f"{each} ({sides})" if each == CHANNELS_DIFFER else each for each in result.reasons)


def heard_of(heard: float, seconds: float) -> str:
    """How much of a recording was heard, as in `4.0 s` and `12.1 s of 1:02:10.0`."""
    whole = _length(seconds)
    return whole if _length(heard) == whole else f"{_length(heard)} of {whole}"


def _length(seconds: float) -> str:
    return f"{seconds:.1f} s" if round(seconds, 1) < 60 else clock(seconds)


def clock(seconds: float) -> str:
    """Seconds as [h:]mm:ss.s."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:" if hours else "") + f"{minutes:02}:{rest // 10:02}.{rest % 10}"
