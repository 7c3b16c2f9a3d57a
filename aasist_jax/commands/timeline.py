"""aasist-jax timeline: Judge one recording over time, and say what was heard when.

The verdict is the one of `score`. Exit codes: 0 judged; 1 failure; 2 usage; 4 --fail-on-synthetic.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands import exit_codes, options
from aasist_jax.commands.reporting import of_channel
from aasist_jax.commands.score import COLOURS, verdict_line
from aasist_jax.detection.inputs import STANDARD_INPUT, each_channel, find_recordings, open_recording


def timeline(
    file: Annotated[Path, typer.Argument(help="An audio file, or - for one on standard input.")],
    weights: options.Weights = None,
    segments: Annotated[Path | None, typer.Option(help="Write the segments to this .json or .csv.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw scores, waveform and spectrogram to this .png.")] = None,
    format: Annotated[options.Format, typer.Option(help="How to print segments and verdict.")] = options.Format.table,
    hop: options.Hop = None,
    sure: options.Sure = 0.9,
    prior: options.SyntheticPrior = 0.5,
    fail_on_synthetic: options.FailOnSynthetic = False,
    exact: options.Exact = False,
    channel: options.ChannelOrEach = None,
) -> None:
    """Score a recording over time, write the files that are asked for, and print segments and verdict."""
    # Before the work, not after it.
    if segments is not None:
        options.check_output(segments, (".json", ".csv"))
    if plot is not None:
        options.check_output(plot, (".png",))
    recordings = find_recordings([file])
    if len(recordings) != 1:
        raise typer.BadParameter(f"{file}: names {len(recordings)} recordings; give one recording at a time")
    rule, side = options.decision_rule(prior, sure), options.chosen_channel(channel)
    if side == "each":
        if recordings[0].name == STANDARD_INPUT:
            raise typer.BadParameter("--channel each: standard input can be read once only; write it to a file")
        recordings = each_channel(recordings)

    from aasist_jax.detection.overview import Overview, watched
    from aasist_jax.detection.timeline_plot import draw_timeline
    from aasist_jax.detection.timeline_text import as_csv, as_json
    from aasist_jax.runtime.files import write_text

    detector = options.judging_detector(weights, rule)
    found: list[tuple[str, Any]] = []
    for recording in recordings:
        overview = Overview() if plot is not None else None
        timeline = detector.timeline(
            open_recording(recording),
            hop=hop,
            exact=exact,
            rule=rule,
            channel=recording.channel if side == "each" else side,
            watch=partial(watched, overview=overview),
        )
        found.append((recording.title, timeline))
        if plot is not None and overview is not None:
            draw_timeline(of_channel(plot, recording.channel), Path(recording.title).name, overview, timeline)
    if segments is not None:
        write_text(segments, as_csv(found) if segments.suffix.lower() == ".csv" else as_json(found))
    if format is options.Format.table:
        for title, timeline in found:
            _print_table(title, timeline)
    elif format is options.Format.csv:
        sys.stdout.write(as_csv(found))
    elif format is options.Format.json:
        sys.stdout.write(as_json(found))
    else:
        sys.stdout.write("".join(as_json([each], indent=None) for each in found))
    if fail_on_synthetic and any(timeline.verdict.label == "synthetic" for _, timeline in found):
        raise typer.Exit(exit_codes.SYNTHETIC)


def _print_table(file: str, timeline: Any) -> None:
    """Print segments and verdict for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from aasist_jax.detection.timeline_text import clock

    table = Table(box=box.SIMPLE)
    for name in ("from", "to", "label", "P(synthetic)", "mean score"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for segment in timeline.segments:
        p_synthetic = "" if segment.p_synthetic is None else timeline.verdict.rule.told(segment.p_synthetic)
        score = "" if segment.score is None else f"{segment.score:+.3f}"
        label = Text(segment.label, COLOURS[segment.label])
        table.add_row(clock(segment.start), clock(segment.end), label, p_synthetic, score)
    console = Console()
    for part in (table, verdict_line(file, timeline.score)):
        console.print(part)
