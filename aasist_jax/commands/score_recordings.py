"""The work behind `aasist-jax score`: from arguments to rows, and what is said of them all."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aasist_jax.commands.output import LINE_FORMATS, Format, Identity, as_written, opened_output, write_rows
from aasist_jax.detection.detector import CALIBRATION_FILE, Windows
from aasist_jax.detection.files import Row, load_detector, score_files
from aasist_jax.detection.inputs import STANDARD_INPUT, Recording
from aasist_jax.runtime.progress import with_progress


@dataclass(frozen=True)
class ScoreOptions:
    """How recordings are scored and where the rows go; see `aasist-jax score --help`."""

    windows: Windows = "first"
    format: Format = "table"
    p_spoof: float | None = None
    out: Path | None = None
    resume: bool = False
    continue_on_error: bool = True
    channel: int | None = None

    @property
    def shows_rows(self) -> bool:
        """Whether rows come to the terminal one by one, so that no other sign of progress is needed."""
        return self.out is None and self.format in LINE_FORMATS and sys.stdout.isatty()


def score_recordings(recordings: Sequence[Recording], weights: Path, options: ScoreOptions) -> Counter[str]:
    """Score recordings and write the rows; count how they ended (see `Row.outcome`).

    Rows that an earlier run wrote to the same file count as well. What cannot be scored is told on standard error, and
    unless `continue_on_error`, the first such recording is the last.

    Raises:
        WeightsError: no such weights, or a prior without a calibration.
        ScoreFileError: the output cannot be gone on with.
        OSError: the output cannot be written.
    """
    detector = load_detector(weights, options.p_spoof)
    before: dict[str, str] = {}
    with ExitStack() as stack:
        file = None
        if options.out is not None:
            calibration = Identity.calibration_of(weights / CALIBRATION_FILE)
            identity = Identity(
                detector.weights.model_id, calibration, options.windows, options.p_spoof, options.channel
            )
            opened = opened_output(options.out, options.format, identity, resume=options.resume)
            file, before = stack.enter_context(opened)
        done = {recording.name: before.get(as_written(recording.name)) for recording in recordings}
        left = [recording for recording in recordings if done[recording.name] is None]
        counts = Counter(outcome for outcome in done.values() if outcome is not None)
        if counts["error"] and not options.continue_on_error:
            left = []

        rows = score_files(
            detector, left, options.windows, options.p_spoof, channel=options.channel, of=len(recordings)
        )
        if not options.shows_rows:
            rows = with_progress(rows, description="Scoring", total=len(recordings), done=len(recordings) - len(left))
        has_header = file is not None and os.fstat(file.fileno()).st_size > 0
        write_rows(
            _watched(rows, counts, options.continue_on_error),
            options.format,
            partial(print, end="", file=file, flush=True),
            header=not has_header,
        )
    return counts


def _watched(rows: Iterator[Row], counts: Counter[str], continue_on_error: bool) -> Iterator[Row]:
    """Count the rows, and tell on standard error of those without a result, where the rows may go to a file."""
    for row in rows:
        counts[row.outcome] += 1
        if row.error:
            print(f"error: {row.error}", file=sys.stderr)
        yield row
        if row.error and not continue_on_error:
            return


def check_options(recordings: Sequence[Recording], options: ScoreOptions) -> str:
    """What is wrong with the options taken together, in a line; '' where nothing is."""
    if options.out is not None and options.format == "table":
        return f"--out {options.out}: a table is for reading; give --format json, jsonl or csv, or a name that ends so"
    if options.p_spoof is not None and not 0 < options.p_spoof < 1:
        return f"--p-spoof {options.p_spoof}: the prior of a spoof must lie between 0 and 1"
    if options.resume and (options.out is None or options.format not in LINE_FORMATS):
        return "--resume: needs --out with the format jsonl or csv"
    if options.resume and any(recording.name == STANDARD_INPUT for recording in recordings):
        return "--resume: standard input cannot be told from another one; name a file"
    return ""


def summary(counts: Counter[str]) -> str:
    """All that was scored in a line."""
    names = {"bonafide": "bona fide", "spoof": "spoof", "": "nothing to judge", "error": "failed"}
    parts = [f"{counts[key]:,} {name}" for key, name in names.items() if counts[key]]
    return f"{counts.total():,} recordings: {', '.join(parts)}"
