"""Writes the reports of `aasist-jax score --report`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aasist_jax.detection.inputs import STANDARD_INPUT, Recording
from aasist_jax.runtime.messages import say

SUFFIXES = (".html", ".json")


def report_fault(recordings: Sequence[Recording], *, published: bool, resume: bool) -> str:
    """Why no report can be made of this, in a line; '' where one can."""
    if len(recordings) != 1:
        return f"--report: is on one recording, and {len(recordings):,} are named; name one file"
    if recordings[0].name == STANDARD_INPUT:
        return "--report: needs a file that can be read again, not standard input; write it to a file"
    if published:
        return "--report: tells a verdict, and --published gives none; leave one of them out"
    return "--report: is made of what is scored now, not of what --resume finds; leave one out" if resume else ""


def of_channel(path: Path, channel: int | None) -> Path:
    """Where what is written of one of several channels goes: `call-channel-0.html` for `call.html`."""
    return path if channel is None else path.with_stem(f"{path.stem}-channel-{channel}")


def with_reports(
    rows: Iterator[Any], paths: Sequence[Path], detector: Any, weights: str | None, *, is_each: bool
) -> Iterator[Any]:
    """Pass the rows of one recording on, and write the reports on the result of each before.

    Args:
        rows: one, or one for each channel.
        paths: of the reports.
        detector: that gives the results.
        weights: the weights as they were named.
        is_each: whether each channel is a row, and has reports of its own.
    """
    from aasist_jax.detection.report_gathering import Request, gather_report
    from aasist_jax.detection.report_page import report_json, report_page
    from aasist_jax.runtime.files import write_text

    for row in rows:
        if row.result is not None:
            facts, pictures = gather_report(detector, Request(Path(row.file), row.channel, weights), row.result)
            for path in (of_channel(path, row.channel if is_each else None) for path in paths):
                is_page = path.suffix.lower() == ".html"
                write_text(path, report_page(facts, pictures) if is_page else report_json(facts))
                say(f"{path}: written")
        yield row
