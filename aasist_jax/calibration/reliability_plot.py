"""Draws how reliable a calibration is: what it says against what is so, and where the verdicts lie."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from aasist_jax.runtime.colours import BONAFIDE, SPOOF, UNSURE
from aasist_jax.runtime.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 8
"""Points of the reliability curve, each of as many recordings."""


def draw_reliability(
    path: Path,
    llrs: Float[np.ndarray, " recordings"],
    is_human: Bool[np.ndarray, " recordings"],
    *,
    name: str,
    sure: float,
) -> None:
    """Write a PNG: on the left P(synthetic) against the share that is, on the right the ratios with the three zones.

    Args:
        path: of the picture.
        llrs: log-likelihood ratio of each recording, by a map that was fitted without its voice; the prior is one half.
        is_human: the truth.
        name: of what was calibrated.
        sure: how sure a label must be.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    reliability, histogram = figure.subplots(1, 2)
    _draw_curve(reliability, llrs, is_human)
    _draw_zones(histogram, llrs, is_human, sure)
    for axes in (reliability, histogram):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Calibration of {name} on voices left out of the fit", fontsize=12)
    with replacing(path) as scratch:
        figure.savefig(scratch, format="png", dpi=110)


def _draw_curve(axes: "Axes", llrs: np.ndarray, is_human: np.ndarray) -> None:
    # As many human as synthetic recordings, which is what a prior of one half means.
    weight = np.where(is_human, 0.5 / is_human.sum(), 0.5 / (~is_human).sum())
    said = 1 / (1 + np.exp(llrs))
    order = np.argsort(said)
    for rows in np.array_split(order, BINS):
        total = weight[rows].sum()
        x, y = (weight[rows] * said[rows]).sum() / total, weight[rows][~is_human[rows]].sum() / total
        spread = math.sqrt(max(y * (1 - y), 0.25 / len(rows)) / len(rows))
        axes.errorbar(x, y, yerr=spread, color="0.2", marker="o", markersize=5, capsize=2)
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="perfect calibration")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="P(synthetic) that is said", ylabel="Share that is synthetic")
    axes.set_title(f"Points of {len(order) // BINS} recordings, with a standard error", fontsize=10)
    axes.legend(frameon=False, loc="upper left")


def _draw_zones(axes: "Axes", llrs: np.ndarray, is_human: np.ndarray, sure: float) -> None:
    border = math.log(sure / (1 - sure))
    reach = max(float(np.abs(llrs).max()), border) * 1.05
    edges = np.linspace(-reach, reach, 41).tolist()
    for left, right, colour, name in (
        (-reach, -border, SPOOF, "synthetic"),
        (-border, border, UNSURE, "unsure"),
        (border, reach, BONAFIDE, "human"),
    ):
        axes.axvspan(left, right, color=colour, alpha=0.13, linewidth=0)
        axes.text((left + right) / 2, 1.01, name, ha="center", transform=axes.get_xaxis_transform(), fontsize=10)
    for chosen, colour, name in ((is_human, BONAFIDE, "human recordings"), (~is_human, SPOOF, "synthetic recordings")):
        share = np.full(int(chosen.sum()), 100 / chosen.sum())
        axes.hist(llrs[chosen], edges, weights=share, color=colour, alpha=0.6, label=name)
    axes.set(xlim=(-reach, reach), xlabel="Log-likelihood ratio, human over synthetic", ylabel="Share of the class, %")
    axes.legend(frameon=False, loc="upper left")
