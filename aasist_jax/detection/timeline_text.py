"""Results in words, and timelines as JSON and CSV."""

import csv
import io
import json
from typing import TYPE_CHECKING

from aasist_jax.detection.verdict import CHANNELS_DIFFER

if TYPE_CHECKING:
    from aasist_jax.detection.result import Score, Timeline

COLUMNS = ("file", "start", "end", "label", "p_synthetic", "score", "windows")


def as_json(file: str, timeline: "Timeline", *, indent: int | None = 2) -> str:
    """The whole timeline as JSON, with a final line feed; times are seconds from the recording's start."""
    return json.dumps({"file": file, **timeline.to_dict()}, indent=indent) + "\n"


def as_csv(file: str, timeline: "Timeline") -> str:
    """The segments as CSV: a header, then one row per segment."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for segment in timeline.segments:
        values = segment.to_dict()
        writer.writerow([file, *(values[name] for name in COLUMNS[1:])])
    return text.getvalue()


def sentence(result: "Score") -> str:
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


def told_reasons(result: "Score") -> str:
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
