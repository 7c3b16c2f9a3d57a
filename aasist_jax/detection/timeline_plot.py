"""Draws a recording over time: waveform, spectrogram, and what was heard when, legible for seconds and for hours.

Nothing is drawn finer than a screen shows: segments and windows are merged into columns first.
"""

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.detection.figures import new_figure, plain, png_of
from aasist_jax.detection.timeline import (
    SEGMENT_LABELS,
    JudgedWindow,
    Segment,
    SegmentLabel,
    WindowScore,
    judge_windows,
)
from aasist_jax.detection.timeline_text import clock, sentence
from aasist_jax.errors import ConfigError
from aasist_jax.runtime.colours import VERDICTS
from aasist_jax.runtime.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from aasist_jax.detection.overview import Overview
    from aasist_jax.detection.result import Score, Timeline

RANGE_DB = 80.0
"""Range of the spectrogram's colours, in decibels below the loudest point."""

SPAN_COLUMNS = 500
"""Columns that the segments are merged into: each is about two pixels wide, which an eye can still find."""

SINGLE_WINDOWS = 150
"""Up to so many windows are drawn one by one; more are merged into columns."""

WINDOW_COLUMNS = 300

NARROW = 1 / 60
"""A synthetic span narrower than this share of the picture gets an arrow, so that it is not overlooked."""

MARGIN = 0.08
LEAST_EXTENT = 0.02
LEAST_LLR = 1.0
"""The evidence is shown up to this, either way, however small it is."""

LINE_LETTERS = 145
TICK_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MOST_TICKS = 10

PerWindow = Float[np.ndarray, " windows"]
PerColumn = Float[np.ndarray, " columns"]


@dataclass(frozen=True)
class Span:
    """A run of columns with the same label; `start` and `end` in seconds."""

    start: float
    end: float
    label: SegmentLabel


def spans_of(segments: Sequence[Segment], seconds: float, columns: int = SPAN_COLUMNS) -> list[Span]:
    """Merge segments into spans of whole columns that cover the recording.

    A column is synthetic if anything in it is; otherwise it has the label that lasts longest in it.
    """
    edges = np.linspace(0.0, seconds, columns + 1)
    lasting = np.zeros((len(SEGMENT_LABELS), columns))
    for segment in segments:
        inside = np.minimum(edges[1:], segment.end) - np.maximum(edges[:-1], segment.start)
        lasting[SEGMENT_LABELS.index(segment.label)] += np.maximum(inside, 0.0)
    lasting[SEGMENT_LABELS.index("synthetic")] *= np.inf if seconds == 0 else 1e9 / seconds
    found = lasting.argmax(axis=0)
    starts = [0, *(np.flatnonzero(np.diff(found)) + 1).tolist(), columns]
    return [
        Span(float(edges[start]), float(edges[end]), SEGMENT_LABELS[found[start]])
        for start, end in itertools.pairwise(starts)
    ]


def ranges_of(
    starts: PerWindow, ends: PerWindow, values: PerWindow, seconds: float, columns: int = WINDOW_COLUMNS
) -> tuple[PerColumn, PerColumn]:
    """The lowest and the highest of the values of windows in each column; NaN where there is no window.

    Args:
        starts: of the windows, in seconds.
        ends: of the windows, in seconds.
        values: of the windows.
        seconds: length of the recording.
        columns: count of columns.
    """
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    first = np.clip((starts / seconds * columns).astype(int), 0, columns - 1)
    last = np.clip(np.ceil(ends / seconds * columns).astype(int), first + 1, columns)
    for begin, end, value in zip(first, last, values, strict=True):
        np.minimum(low[begin:end], value, out=low[begin:end])
        np.maximum(high[begin:end], value, out=high[begin:end])
    low[np.isinf(low)] = high[np.isinf(high)] = np.nan
    return low, high


def draw_timeline(path: Path, title: str, overview: "Overview", timeline: "Timeline") -> None:
    """Draw a recording over time and write a PNG."""
    with replacing(path) as scratch:
        scratch.write_bytes(timeline_png(title, overview, timeline))


def timeline_png(title: str, overview: "Overview", timeline: "Timeline") -> bytes:
    """A recording over time as the content of a PNG: see `timeline_figure`."""
    return png_of(timeline_figure(title, overview, timeline))


def timeline_figure(title: str, overview: "Overview", timeline: "Timeline") -> "Figure":
    """Draw waveform and spectrogram, the verdict on each span, and the evidence of the windows.

    Args:
        title: the name of the recording.
        overview: of the signal, which must have been pushed to its end.
        timeline: what was heard.
    """
    figure = new_figure(11.0, 6.8)
    waveform, spectrogram, verdicts, evidence = figure.subplots(4, 1, sharex=True, height_ratios=(0.8, 1.3, 0.22, 1.6))
    seconds = timeline.score.seconds
    _draw_signal(waveform, spectrogram, overview, seconds)
    spans = spans_of(timeline.segments, seconds)
    _draw_spans(verdicts, spans, seconds)
    _draw_evidence(evidence, timeline.score, timeline.windows, spans)
    _mark_time(evidence, seconds)
    _draw_legend(figure, timeline.segments)
    verdict = timeline.verdict
    box = {"facecolor": VERDICTS[verdict.label], "alpha": 0.35, "linewidth": 0, "boxstyle": "round"}
    figure.suptitle(f"{plain(title)}: {verdict}", fontsize=13, bbox=box)
    waveform.set_title("\n".join(textwrap.wrap(sentence(timeline.score), LINE_LETTERS)), fontsize=9)
    return figure


def verdict_figure(score: "Score", windows: Sequence[WindowScore], segments: Sequence[Segment]) -> "Figure":
    """Draw the verdict on each span and the evidence of the windows, without the signal, which a result does not hold.

    Args:
        score: the result for the recording.
        windows: to draw.
        segments: that the windows make.

    Raises:
        ConfigError: it is a published score, which has no verdict.
    """
    if score.verdict is None:
        raise ConfigError("a published score has no verdict to draw; score without `published`")
    figure = new_figure(9.0, 3.0)
    verdicts, evidence = figure.subplots(2, 1, sharex=True, height_ratios=(0.2, 1.6))
    spans = spans_of(segments, score.seconds)
    _draw_spans(verdicts, spans, score.seconds)
    _draw_evidence(evidence, score, windows, spans)
    _mark_time(evidence, score.seconds)
    _draw_legend(figure, segments)
    figure.suptitle(str(score.verdict), fontsize=12)
    return figure


def _draw_signal(waveform: "Axes", spectrogram: "Axes", overview: "Overview", seconds: float) -> None:
    low, high, decibels = overview.columns()
    edges = np.minimum(np.arange(low.size + 1) * overview.column_seconds, seconds)
    waveform.stairs(high, edges, baseline=low, fill=True, color="0.35")
    waveform.set(ylabel="Waveform", xlim=(0, seconds))
    waveform.spines[["top", "right"]].set_visible(False)
    spectrogram.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        extent=(0, max(low.size, 1) * overview.column_seconds, 0, SAMPLE_RATE / 2000),
        vmin=-RANGE_DB,
        vmax=0,
        cmap="magma",
        interpolation="nearest",
    )
    spectrogram.set(ylabel="Frequency, kHz")


def _draw_spans(axes: "Axes", spans: Sequence[Span], seconds: float) -> None:
    """The label of each span as a band of its colour; what was not heard is hatched."""
    for span in spans:
        axes.axvspan(span.start, span.end, **_look(span.label))
        if span.label == "synthetic" and span.end - span.start < NARROW * seconds:
            middle = (span.start + span.end) / 2
            axes.plot(middle, 1.35, "v", color=VERDICTS["synthetic"], markersize=7, clip_on=False)
    axes.set(ylim=(0, 1), yticks=[])
    axes.set_ylabel("Each part", rotation=0, ha="right", va="center")


def _look(label: SegmentLabel) -> dict[str, Any]:
    if label == "unheard":
        return {"facecolor": "white", "edgecolor": VERDICTS[label], "hatch": "////", "linewidth": 0}
    return {"color": VERDICTS[label], "linewidth": 0}


def _draw_evidence(axes: "Axes", score: "Score", windows: Sequence[WindowScore], spans: Sequence[Span]) -> None:
    """The log-likelihood ratio of the windows, or without a calibration their raw score, in the colours of labels."""
    assert score.verdict is not None
    judged = judge_windows(windows, score.windows, score.verdict)
    is_calibrated = any(each.window.llr is not None for each in judged)
    heard = [each for each in judged if each.window.logits is not None]
    axes.margins(y=MARGIN)
    if is_calibrated:
        axes.set_ylabel("Evidence, LLR\n← synthetic      human →")
    else:
        axes.set_ylabel("Raw score\n(not calibrated:\nsays little by itself)")
    values = [_value(each.window) for each in heard]
    # A window that is alone in its column has no extent, and would not be seen.
    thickness = None if len(heard) <= SINGLE_WINDOWS else LEAST_EXTENT * max(max(values) - min(values), LEAST_LLR)
    for label in ("human", "unsure", "synthetic"):
        _draw_windows(axes, [each for each in heard if each.label == label], label, score.seconds, thickness)
    for span in spans:
        if span.label == "unheard":
            axes.axvspan(span.start, span.end, facecolor="none", edgecolor="0.85", hatch="////", linewidth=0, zorder=0)
    low, high = axes.get_ylim()
    if is_calibrated:
        low, high = min(low, -LEAST_LLR), max(high, LEAST_LLR)
        low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
        axes.axhspan(0, high, color=VERDICTS["human"], alpha=0.07, linewidth=0, zorder=0)
        axes.axhspan(low, 0, color=VERDICTS["synthetic"], alpha=0.07, linewidth=0, zorder=0)
    axes.set_ylim(low, high)
    if not heard:
        axes.set_yticks([])
    axes.spines[["top", "right"]].set_visible(False)


def _value(window: WindowScore) -> float:
    """The evidence of a window that was heard; without a calibration its raw score."""
    value = window.score if window.llr is None else window.llr
    assert value is not None
    return value


def _draw_windows(
    axes: "Axes", judged: Sequence[JudgedWindow], label: str, seconds: float, thickness: float | None
) -> None:
    """The values of windows of one label, as a line each or, with a thickness, as a range in each column."""
    if not judged:
        return
    starts, ends = (np.array([getattr(each.window, name) for each in judged]) for name in ("start", "end"))
    values = np.array([_value(each.window) for each in judged])
    if thickness is None:
        axes.hlines(values, starts, ends, color=VERDICTS[label], linewidth=3)
        return
    low, high = ranges_of(starts, ends, values, seconds)
    middles = (np.arange(low.size) + 0.5) * seconds / low.size
    axes.vlines(middles, low - thickness, high + thickness, color=VERDICTS[label], linewidth=2.6)


def _mark_time(axes: "Axes", seconds: float) -> None:
    step = next((step for step in TICK_SECONDS if seconds / step <= MOST_TICKS), 4 * TICK_SECONDS[-1])
    ticks = np.arange(0, seconds + 1e-9, step)
    axes.set_xticks(ticks, [clock(tick).removesuffix(".0") for tick in ticks])
    axes.set(xlim=(0, seconds), xlabel="Time, h:mm:ss" if seconds >= 3600 else "Time, mm:ss")


def _draw_legend(figure: "Figure", segments: Sequence[Segment]) -> None:
    from matplotlib.patches import Patch

    shown = {segment.label for segment in segments}
    words = {"unheard": "not heard (no speech)"}
    handles = [Patch(**_look(label), label=words.get(label, label)) for label in SEGMENT_LABELS if label in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
