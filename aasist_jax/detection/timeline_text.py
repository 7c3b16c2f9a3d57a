"""Results in words, and timelines as JSON and CSV."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from aasist_jax.detection.verdict import CHANNELS_DIFFER

if TYPE_CHECKING:
    from aasist_jax.detection.result import Score, Timeline

COLUMNS = ("file", "start", "end", "label", "p_synthetic", "score", "windows")


def as_json(timelines: "Sequence[tuple[str, Timeline]]", *, indent: int | None = 2) -> str:
    """Timelines with the names of their recordings as JSON, with a final line feed: one object, or a list of them.

    Times are seconds from the recording's start.
    """
    documents = [{"file": file, **timeline.to_dict()} for file, timeline in timelines]
    return json.dumps(documents[0] if len(documents) == 1 else documents, indent=indent) + "\n"


def as_csv(timelines: "Iterable[tuple[str, Timeline]]") -> str:
    """The segments of timelines as CSV: a header, then one row per segment."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for file, timeline in timelines:
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
    sure, told = verdict.rule.sure, verdict.rule.told(verdict.p_synthetic)
    return (
        f"P(synthetic) {told}, where human needs {1 - sure:.6g} or less and synthetic {sure:g} or "
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
