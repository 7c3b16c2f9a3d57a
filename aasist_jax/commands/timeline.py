"""aasist-jax timeline: Score one recording over time: segments, a verdict.

Exit codes: 0 scored; 1 failure; 2 usage; 4 --fail-on-spoof, and the recording is a spoof.
"""

import enum
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands import exit_codes
from aasist_jax.commands.options import (
    Channel,
    Exact,
    Hop,
    Hysteresis,
    MinSpoof,
    Threshold,
    Vad,
    Weights,
    check_output,
    segment_rule,
    weights_folder,
)
from aasist_jax.detection.inputs import find_recordings, open_recording, printable

COLOURS = {"bonafide": "green", "spoof": "red", "unjudged": "dim"}


class Format(enum.StrEnum):
    """How segments and verdict are printed."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


def timeline(
    file: Annotated[Path, typer.Argument(help="An audio file, or - for one on standard input.")],
    weights: Weights = None,
    segments: Annotated[Path | None, typer.Option(help="Write the segments to this .json or .csv.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw scores, waveform and spectrogram to this .png.")] = None,
    format: Annotated[Format, typer.Option(help="How to print segments and verdict.")] = Format.table,
    hop: Hop = None,
    vad: Vad = False,
    min_spoof: MinSpoof = None,
    fail_on_spoof: Annotated[
        bool, typer.Option("--fail-on-spoof", help="Exit with 4 if the recording is a spoof.")
    ] = False,
    threshold: Threshold = None,
    hysteresis: Hysteresis = None,
    exact: Exact = False,
    channel: Channel = None,
) -> None:
    """Score a recording over time, write the files that are asked for, and print segments and verdict."""
    # Before the work, not after it.
    if segments is not None:
        check_output(segments, (".json", ".csv"))
    if plot is not None:
        check_output(plot, (".png",))
    recordings = find_recordings([file])
    if len(recordings) != 1:
        raise typer.BadParameter(f"{file}: names {len(recordings)} recordings; give one recording at a time")
    rule = segment_rule(threshold, hysteresis, min_spoof)

    from aasist_jax.audio.load import iter_audio
    from aasist_jax.detection.detector import Detector
    from aasist_jax.detection.stream import score_timeline
    from aasist_jax.detection.timeline_plot import Overview, draw_timeline, watched
    from aasist_jax.detection.timeline_text import as_csv, as_json
    from aasist_jax.runtime.files import write_text
    from aasist_jax.runtime.start_up import prepare_to_compute

    prepare_to_compute()
    detector = Detector.from_pretrained(weights_folder(weights))
    overview = Overview() if plot is not None else None
    name = recordings[0].name
    blocks = watched(iter_audio(open_recording(recordings[0]), channel=channel), overview)
    found = score_timeline(detector, blocks, hop=hop, exact=exact, vad=vad, rule=rule)
    if segments is not None:
        write_text(segments, as_csv(name, found) if segments.suffix.lower() == ".csv" else as_json(name, found))
    if plot is not None and overview is not None:
        draw_timeline(plot, Path(name).name, overview, found)
    if format is Format.table:
        _print_table(name, found)
    elif format is Format.csv:
        sys.stdout.write(as_csv(name, found))
    else:
        sys.stdout.write(as_json(name, found, indent=2 if format is Format.json else None))
    if fail_on_spoof and found.verdict.label == "spoof":
        raise typer.Exit(exit_codes.SPOOF)


def _print_table(file: str, timeline: Any) -> None:
    """Print segments and verdict for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from aasist_jax.detection.timeline_text import clock

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
    console = Console()
    for part in (table, said, Text(f"The rule: {timeline.rule}.", "dim")):
        console.print(part)
