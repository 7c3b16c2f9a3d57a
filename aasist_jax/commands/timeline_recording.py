"""The work behind `aasist-jax score --segments` and `--plot`: one recording over time."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from rich.console import Console

from aasist_jax.audio.load import iter_audio
from aasist_jax.commands.timeline_output import SUFFIXES, as_csv, as_json, as_table, check_output, write_segments
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.inputs import Recording, open_recording
from aasist_jax.detection.stream import BLOCK, score_timeline
from aasist_jax.detection.timeline import Rule, Verdict
from aasist_jax.detection.timeline_plot import Overview, draw_timeline
from aasist_jax.runtime.memory import return_freed_memory


def score_over_time(
    recording: Recording,
    weights: Path,
    *,
    segments: Path | None,
    plot: Path | None,
    hop: float | None,
    exact: bool,
    vad: bool,
    rule: Rule,
    format: str,
    channel: int | None = None,
) -> Verdict:
    """Score a recording over time, write what is asked for, and print segments and verdict.

    Raises:
        ConfigError: an output whose name does not end as its format does or whose folder is not there, or a hop out of
            range.
        AudioError: the recording cannot be decoded.
    """
    # Before the work, not after it.
    if segments is not None:
        check_output(segments, SUFFIXES)
    if plot is not None:
        check_output(plot, (".png",))
    detector = Detector.from_pretrained(weights)
    overview = Overview() if plot is not None else None
    blocks = watched(iter_audio(open_recording(recording), channel=channel), overview)
    timeline = score_timeline(detector, blocks, hop=hop, exact=exact, vad=vad, rule=rule)
    if segments is not None:
        write_segments(segments, recording.name, timeline)
    if plot is not None and overview is not None:
        draw_timeline(plot, Path(recording.name).name, overview, timeline)
    if format == "table":
        Console().print(as_table(recording.name, timeline))
    elif format == "csv":
        sys.stdout.write(as_csv(recording.name, timeline))
    else:
        sys.stdout.write(as_json(recording.name, timeline, indent=2 if format == "json" else None))
    return timeline.verdict


def watched(
    blocks: Iterable[Float32[np.ndarray, " samples"]], overview: Overview | None
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Pass blocks on in pieces of bounded size, show them to the overview, and keep memory in bounds."""
    for block in blocks:
        for start in range(0, block.size, BLOCK):
            piece = block[start : start + BLOCK]
            if overview is not None:
                overview.push(piece)
            yield piece
            return_freed_memory()
