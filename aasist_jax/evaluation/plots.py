"""The plots of a report, as SVG text. Matplotlib is imported when the first plot is drawn."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aasist_jax.evaluation.breakdowns import Group
from aasist_jax.evaluation.score_files import Trials
from aasist_jax.metrics.error_rates import det_points, equal_error_rate, roc_convex_hull
from aasist_jax.runtime.colours import BONAFIDE, SPOOF, SYSTEMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DET_TICKS = (0.0001, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
DET_POINTS_PER_UNIT = 100

NEITHER = "#9aa0a6"
BARS = {SPOOF: "worse than all", NEITHER: "not told apart from all", BONAFIDE: "better than all"}
"""Colours of the bars, by where their interval lies."""
PAPER = {"facecolor": "white", "linewidth": 0, "pad": 0.6}
"""Behind numbers that a line may cross."""


def det_plot(systems: Mapping[str, Trials]) -> str:
    """Detection error trade-off curves on normal-deviate axes, with the equal error rate of each system."""
    # Imported here because the import is slow and many commands draw nothing.
    from scipy.special import ndtri

    figure, axes = _canvas(5.4, 5.0)
    lowest = 0.4
    for (name, trials), colour in zip(systems.items(), SYSTEMS, strict=False):
        curve = det_points(trials.bonafide, trials.spoof)
        inside = (curve.miss > 0) & (curve.miss < 1) & (curve.false_alarm > 0) & (curve.false_alarm < 1)
        x, y = ndtri(curve.false_alarm[inside]), ndtri(curve.miss[inside])
        # Keep only points that a screen can show separately; long lists have a point per score.
        cells = np.round(np.stack([x, y]) * DET_POINTS_PER_UNIT)
        seen = np.any(np.diff(cells, axis=1, prepend=np.inf) != 0, axis=0)
        eer = equal_error_rate(trials.bonafide, trials.spoof).eer
        label = f"{name}: equal error rate {100 * eer:.2f} %"
        axes.plot(x[seen], y[seen], color=colour, label=label, drawstyle="steps-post", linewidth=1.8)
        if 0 < eer < 1:
            axes.plot(ndtri(eer), ndtri(eer), "o", color=colour, markersize=6)
        lowest = min(lowest, eer / 10, 0.5 / min(trials.bonafide.size, trials.spoof.size))
    low, high = ndtri(max(lowest, 5e-5)), ndtri(0.6)
    ticks = [tick for tick in DET_TICKS if low <= ndtri(tick) <= high]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ndtri(ticks), [f"{100 * tick:g}" for tick in ticks])
    axes.plot([low, high], [low, high], color="0.75", linewidth=0.8, zorder=0)
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_xlabel("Synthetic speech taken for human, % (false alarms)", color=SPOOF)
    axes.set_ylabel("Human speech taken for synthetic, % (misses)", color=BONAFIDE)
    axes.text(0.03, 0.03, "better", transform=axes.transAxes, color="0.4", fontsize=9, style="italic")
    axes.set_aspect("equal")
    axes.grid(color="0.92")
    axes.legend(frameon=False, loc="upper right")
    return _svg(figure)


def histogram_plot(trials: Trials) -> str:
    """Histograms of the scores of the two classes, each normalised separately, and the EER threshold."""
    figure, axes = _canvas(6.4, 3.4)
    low, high = np.quantile(trials.scores, [0.0005, 0.9995])
    edges = np.linspace(low, high, 70).tolist()
    for scores, colour, name in (
        (trials.bonafide, BONAFIDE, "human (bona fide)"),
        (trials.spoof, SPOOF, "synthetic (spoof)"),
    ):
        weights = np.full(scores.size, 100 / scores.size)
        axes.hist(np.clip(scores, low, high), edges, weights=weights, color=colour, alpha=0.6, label=name)
    threshold = equal_error_rate(trials.bonafide, trials.spoof).threshold
    axes.axvline(threshold, color="0.25", linestyle="--", linewidth=1, label=f"EER threshold {threshold:.3g}")
    axes.set(xlabel="Score: higher means more likely human", ylabel="Recordings of the class, %")
    axes.legend(frameon=False)
    return _svg(figure)


def error_rate_plot(groups: Sequence[Group], pooled_eer: float) -> str:
    """Equal error rate of each group with its interval, worst at the top, and the rate over all trials."""
    shown = [group for group in groups if group.eer is not None][:30]
    figure, axes = _canvas(6.8, 1.2 + 0.27 * max(len(shown), 3))
    rates = [100 * (group.eer or 0.0) for group in shown]
    ends = [
        100 * group.interval.high if group.interval is not None else rate
        for group, rate in zip(shown, rates, strict=True)
    ]
    rows = range(len(shown))
    axes.barh(rows, rates, color=[_shade(group, pooled_eer) for group in shown], alpha=0.8, height=0.7)
    for row, group in enumerate(shown):
        if group.interval is not None:
            axes.plot([100 * group.interval.low, 100 * group.interval.high], [row, row], color="0.15", linewidth=1.3)
        number = f"{rates[row]:.2f}"
        axes.annotate(number, (ends[row], row), (4, 0), textcoords="offset points", va="center", fontsize=8, bbox=PAPER)
    overall = axes.axvline(100 * pooled_eer, color="0.25", linestyle="--", linewidth=1)
    axes.set_yticks(rows, [group.value for group in shown])
    axes.invert_yaxis()
    axes.set(xlabel="Equal error rate, %, with its interval", xlim=(0, max([*ends, 100 * pooled_eer, 1]) * 1.1))
    _draw_key(figure, BARS, overall, pooled_eer)
    return _svg(figure)


def _shade(group: Group, pooled_eer: float) -> str:
    """The colour of a group: whether its interval tells it from all trials."""
    if group.interval is None or group.interval.low <= pooled_eer <= group.interval.high:
        return NEITHER
    return SPOOF if group.interval.low > pooled_eer else BONAFIDE


def _draw_key(figure: "Figure", colours: Mapping[str, str], overall: Any, pooled_eer: float) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, alpha=0.8) for colour in colours]
    words = [*colours.values(), f"all: {100 * pooled_eer:.2f} %"]
    figure.legend([*handles, overall], words, loc="outside lower center", ncols=4, frameon=False, fontsize=8)


def calibration_plot(trials: Trials) -> str:
    """The measured log-likelihood ratio of each score, by pooling adjacent violators, against the score itself."""
    figure, axes = _canvas(6.4, 3.8)
    hull = roc_convex_hull(trials.bonafide, trials.spoof)
    bonafide_share, spoof_share = np.diff(hull.miss), -np.diff(hull.false_alarm)
    mixed = (bonafide_share > 0) & (spoof_share > 0)
    measured = np.log(bonafide_share[mixed] / spoof_share[mixed])
    edges = np.minimum(hull.thresholds, trials.scores.max())
    left, right = edges[:-1][mixed], edges[1:][mixed]
    axes.hlines(measured, left, right, color=BONAFIDE, linewidth=2.2, label="measured")
    if measured.size:
        low, high = min(left.min(), measured.min()), max(right.max(), measured.max())
        axes.plot([low, high], [low, high], color="0.5", linestyle="--", linewidth=1, label="perfectly calibrated")
    axes.set(xlabel="Score, taken as a log-likelihood ratio", ylabel="Log-likelihood ratio (natural log)")
    axes.grid(color="0.92")
    axes.legend(frameon=False, loc="upper left")
    return _svg(figure)


def _canvas(width: float, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: "Figure") -> str:
    import matplotlib

    text = io.StringIO()
    # Fixed ids and no date, so that the same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "aasist", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
