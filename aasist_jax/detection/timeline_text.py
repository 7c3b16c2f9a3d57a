"""Results in words, and timelines as JSON and CSV."""

import csv
import io
import json
from typing import TYPE_CHECKING

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
    """What a verdict means, how sure it is, and what it rests on, in a line for people."""
    verdict = result.verdict
    assert verdict is not None
    heard = f"Heard {heard_of(result.heard_seconds, result.seconds)}, {result.speech_seconds:.1f} s of it speech."
    if verdict.llr is None or verdict.p_synthetic is None:
        return f"No number to act on: {', '.join(verdict.reasons)}. {heard}"
    beside = f" Beside it: {', '.join(verdict.reasons)}." if verdict.reasons else ""
    return (
        f"P(synthetic) {verdict.p_synthetic:.3f} at a prior of {verdict.rule.prior:g} "
        f"(LLR {verdict.llr:+.2f}: {verdict.evidence}); a label needs {verdict.rule.sure:g}.{beside} {heard}"
    )


def heard_of(heard: float, seconds: float) -> str:
    """How much of a recording was heard, as in `4.0 s` and `12.1 s of 1:02:10.0`."""
    whole = f"{seconds:.1f} s" if seconds < 60 else clock(seconds)
    if round(heard, 1) == round(seconds, 1):
        return whole
    return f"{f'{heard:.1f} s' if heard < 60 else clock(heard)} of {whole}"


def clock(seconds: float) -> str:
    """Seconds as [h:]mm:ss.s."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:" if hours else "") + f"{minutes:02}:{rest // 10:02}.{rest % 10}"
