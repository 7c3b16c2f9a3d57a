"""aasist-jax score: Tell human from synthetic speech: human, unsure or synthetic.

The whole recording is heard, by the windows that hold speech.

Exit codes: 0 all scored; 1 failure, none scored, or stopped; 2 usage; 3 some not scored; 4 --fail-on-synthetic.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from aasist_jax.commands import exit_codes
from aasist_jax.commands.options import (
    RARE,
    AudioFiles,
    ChannelOrEach,
    FailOnSynthetic,
    Format,
    Recursive,
    RowFormat,
    SeveralWeights,
    Sure,
    SyntheticPrior,
    check_output,
    chosen_channel,
    decision_rule,
    one_or_several_weights,
    tell_what_is_never_sure,
)
from aasist_jax.commands.reporting import SUFFIXES, report_fault, with_reports
from aasist_jax.detection.inputs import STANDARD_INPUT, Recording, each_channel, find_recordings, left_out, printable
from aasist_jax.runtime.messages import print_error, print_warning, say

COLOURS = {"human": "green", "unsure": "yellow", "synthetic": "red", "unheard": "dim"}
"""Of the verdicts, and of segments, on a terminal."""

WRITTEN: dict[Format, Literal["json", "jsonl", "csv"]] = {
    Format.json: "json",
    Format.jsonl: "jsonl",
    Format.csv: "csv",
}
"""Formats that go to files and programs, by what `aasist_jax.detection.row_text` calls them."""

ROW_BY_ROW = (Format.jsonl, Format.csv)
"""Formats that are written row by row, and can be gone on with."""


def score(
    files: AudioFiles,
    weights: SeveralWeights = None,
    format: RowFormat = None,
    recursive: Recursive = False,
    output: Annotated[Path | None, typer.Option(help="Write to this new file, .csv, .jsonl or .json.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the file --output: what is in it is not scored again.")
    ] = False,
    sure: Sure = 0.9,
    prior: SyntheticPrior = 0.5,
    fail_on_synthetic: FailOnSynthetic = False,
    published: Annotated[
        bool,
        typer.Option(
            "--published",
            help="As in the papers: the raw logit of the first window, without a verdict.",
            rich_help_panel=RARE,
        ),
    ] = False,
    continue_on_error: Annotated[
        bool,
        typer.Option(
            "--continue-on-error/--stop-on-error",
            help="Go on after a file that cannot be scored.",
            rich_help_panel=RARE,
        ),
    ] = True,
    channel: ChannelOrEach = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(help="Write a report: .html for people, .json for `verify`."),
    ] = None,
) -> None:
    """Score recordings, print or write the rows, and exit with a code that tells how they ended."""
    recordings = find_recordings(files, recursive=recursive)
    reports = tuple(report or ())
    for path in reports:
        check_output(path, SUFFIXES)
    rule, shown = decision_rule(prior, sure), format or _format_of(output)
    side = chosen_channel(channel)
    options = ScoreOptions(rule, published, shown, output, resume, continue_on_error, side, reports)
    if fault := check_options(recordings, options):
        raise typer.BadParameter(fault)
    if not recursive and (told := left_out(files, recordings)):
        print_warning(told)
    # What loads JAX comes after what can fail at once.
    from aasist_jax.runtime.start_up import prepare_to_compute
    from aasist_jax.weights.published import weights_names

    if (published or reports) and len(weights_names(weights)) > 1:
        raise typer.BadParameter(f"--weights {weights}: --published and --report are of one detector; name one")
    found = one_or_several_weights(weights)
    prepare_to_compute()
    try:
        counts = score_recordings(recordings, found, weights, options)
    except KeyboardInterrupt:
        if output is None or options.format not in ROW_BY_ROW:
            raise
        raise KeyboardInterrupt(f"{output} keeps what is scored: the same command with --resume goes on") from None
    if output is not None:
        say(f"{output}: {summary(counts)}")
    if code := exit_code(counts, fail_on_synthetic=fail_on_synthetic, continue_on_error=continue_on_error):
        raise typer.Exit(code)


def exit_code(counts: Counter[str], *, fail_on_synthetic: bool, continue_on_error: bool) -> int:
    """How the command ends, given how the recordings did (see `Row.outcome`)."""
    failed = counts["error"]
    if failed and (failed == counts.total() or not continue_on_error):
        return exit_codes.FAILURE
    if fail_on_synthetic and counts["synthetic"]:
        return exit_codes.SYNTHETIC
    return exit_codes.SOME_FAILED if failed else 0


def _format_of(output: Path | None) -> Format:
    suffix = "" if output is None else output.suffix.removeprefix(".").lower()
    return Format(suffix) if suffix in WRITTEN else Format.table


@dataclass(frozen=True)
class ScoreOptions:
    """How recordings are scored and where the rows go; see `aasist-jax score --help`."""

    rule: Any
    published: bool = False
    format: Format = Format.table
    output: Path | None = None
    resume: bool = False
    continue_on_error: bool = True
    channel: int | Literal["each"] | None = None
    reports: Sequence[Path] = ()

    @property
    def shows_rows(self) -> bool:
        """Whether rows come to the terminal one by one, so that no other sign of progress is needed."""
        return self.output is None and self.format in ROW_BY_ROW and sys.stdout.isatty()


def check_options(recordings: Sequence[Recording], options: ScoreOptions) -> str:
    """What is wrong with the options taken together, in a line; '' where nothing is."""
    if options.output is not None and options.format is Format.table:
        way_out = "give --format json, jsonl or csv, or a name that ends so"
        return f"--output {options.output}: a table is for reading; {way_out}"
    if options.resume and (options.output is None or options.format not in ROW_BY_ROW):
        return "--resume: needs --output with the format jsonl or csv"
    if options.resume and any(recording.name == STANDARD_INPUT for recording in recordings):
        return "--resume: standard input cannot be told from another one; name a file"
    if options.channel == "each" and any(recording.name == STANDARD_INPUT for recording in recordings):
        return "--channel each: standard input can be read once only; write it to a file"
    return (options.reports and report_fault(recordings, published=options.published, resume=options.resume)) or ""


def score_recordings(
    recordings: Sequence[Recording], found: Path | str, weights: str | None, options: ScoreOptions
) -> Counter[str]:
    """Score recordings and print or write the rows; count how they ended (see `Row.outcome`).

    The weights are given as `Detector.from_pretrained` takes them, and as they were named.

    Rows that an earlier run wrote to the same file count as well. What cannot be scored is told on standard error;
    without `continue_on_error` the run ends at the first such recording.

    Raises:
        WeightsError: no such weights.
        ScoreFileError: the output cannot be gone on with.
        OSError: the output cannot be written.
    """
    from aasist_jax.detection.detector import Detector
    from aasist_jax.detection.files import score_files
    from aasist_jax.detection.resumable_rows import as_written
    from aasist_jax.detection.row_text import Identity, opened_output
    from aasist_jax.runtime.progress import with_progress

    detector, rule = Detector.from_pretrained(found), options.rule
    if options.channel == "each":
        recordings = each_channel(recordings)
    elif (channel := options.channel) is not None:
        recordings = [replace(recording, channel=channel) for recording in recordings]
    if not options.published:
        tell_what_is_never_sure(detector, weights, rule)
    before: dict[str, str] = {}
    with ExitStack() as stack:
        file = None
        if options.output is not None:
            identity = Identity(detector.model_id, rule.prior, rule.sure, options.published, options.channel)
            # `check_options` lets no table come here.
            opened = opened_output(options.output, WRITTEN[options.format], identity, resume=options.resume)
            file, before = stack.enter_context(opened)
        done = {recording.title: before.get(as_written(recording.title)) for recording in recordings}
        left = [recording for recording in recordings if done[recording.title] is None]
        counts = Counter(outcome for outcome in done.values() if outcome is not None)
        if counts["error"] and not options.continue_on_error:
            left = []

        rows = score_files(detector, left, rule=rule, published=options.published)
        if options.reports:
            rows = with_reports(rows, options.reports, detector, weights, is_each=options.channel == "each")
        if not options.shows_rows:
            rows = with_progress(rows, description="Scoring", total=len(recordings), done=len(recordings) - len(left))
        has_header = file is not None and os.fstat(file.fileno()).st_size > 0
        write = partial(print, end="", file=file, flush=True)
        watched = _watched(rows, counts, options.continue_on_error)
        print_rows(watched, options.format, write, header=not has_header, published=options.published)
    return counts


def _watched(rows: Iterator[Any], counts: Counter[str], continue_on_error: bool) -> Iterator[Any]:
    """Count the rows, and tell on standard error of those without a result, where the rows may go to a file."""
    for row in rows:
        counts[row.outcome] += 1
        if row.error:
            print_error(row.error)
        yield row
        if row.error and not continue_on_error:
            return


def print_rows(
    rows: Iterable[Any], format: Format, write: Callable[[str], object], *, header: bool, published: bool
) -> None:
    """Write rows as text, or print a table of them; where they end early, those that came are written all the same.

    The verdict on a single recording is also told in a sentence.
    """
    from rich.console import Console

    from aasist_jax.detection.row_text import write_rows

    if format is not Format.table:
        write_rows(rows, WRITTEN[format], write, header=header)
        return
    seen: list[Any] = []
    try:
        seen.extend(rows)
    finally:
        console = Console()
        console.print(table_of(seen, published=published))
        if len(seen) == 1 and seen[0].result is not None and not published:
            console.print(verdict_line(seen[0].title, seen[0].result))


def verdict_line(title: str, result: Any) -> Any:
    """The verdict on a recording, how sure it is and what it rests on, as text for a terminal."""
    from rich.text import Text

    from aasist_jax.detection.timeline_text import sentence

    return Text(f"{printable(title)}: ").append(result.label, COLOURS[result.label]).append(f". {sentence(result)}")


def table_of(rows: Sequence[Any], *, published: bool) -> Any:
    """A table of rows (see `Row`) for a terminal; `published` as in `Detector.score`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    table.add_column("file", overflow="fold")
    for name in () if published else ("verdict", "P(synthetic)"):
        table.add_column(name, justify="left" if name == "verdict" else "right")
    for name in ("score", "heard", "status") if published else ("score", "heard", "why"):
        table.add_column(name, justify="right" if name in ("score", "heard") else "left")
    for row in rows:
        table.add_row(Text(printable(row.title)), *_cells(row, published))
    return table


def _cells(row: Any, published: bool) -> list[Any]:
    """The cells of a row but the first, as text."""
    from rich.text import Text

    from aasist_jax.detection.timeline_text import heard_of, told_reasons

    result = row.result
    if result is None:
        return [*([] if published else [Text("error", "red"), ""]), "", "", Text("error", "red") if published else ""]
    score = "" if result.score is None else f"{result.score:+.3f}"
    numbers = [score, heard_of(result.heard_seconds, result.seconds)]
    if published:
        return [*numbers, result.status]
    p_synthetic = "" if result.p_synthetic is None else result.verdict.rule.told(result.p_synthetic)
    return [Text(result.label, COLOURS[result.label]), p_synthetic, *numbers, told_reasons(result)]


def summary(counts: Counter[str]) -> str:
    """All that was scored in a line."""
    names = {"human": "human", "unsure": "unsure", "synthetic": "synthetic", "": "scored", "error": "failed"}
    told = [f"{counts[key]:,} {name}" for key, name in names.items() if counts[key]]
    return f"{counts.total():,} recordings: {', '.join(told)}"
