"""One picture: speed relative to the baseline, with the lowest and the highest round."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

OURS, OTHERS = "tab:blue", "tab:gray"
BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 1}


def draw(figures: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw a panel for each work and batch size, and a bar for each contender."""
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in figures:
        groups.setdefault((row["what"], row["batch"]), []).append(row)
    bars = [len(group) for group in groups.values()]
    figure = Figure(figsize=(9, 1.3 + 0.5 * len(bars) + 0.28 * sum(bars)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=[n + 1 for n in bars])[:, 0]
    end = 1.15 * max(row["speed_highest"] for row in figures)
    for axes, ((what, batch), group) in zip(panels, groups.items(), strict=True):
        names = [row["contender"] for row in group]
        medians = [row["speed_median"] for row in group]
        spread = [
            [row["speed_median"] - row["speed_lowest"] for row in group],
            [row["speed_highest"] - row["speed_median"] for row in group],
        ]
        colours = [OURS if name.startswith("aasist_jax") else OTHERS for name in names]
        axes.barh(names, medians, xerr=spread, color=colours, capsize=3, error_kw={"linewidth": 1})
        for i, row in enumerate(group):
            label = f"{row['speed_median']:.2f}   ({1e3 * row['median_s']:.4g} ms)"
            axes.text(row["speed_highest"] + 0.015 * end, i, label, va="center", fontsize=8, bbox=BEHIND)
        axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
        axes.set_title(f"{what}, batch {batch}", loc="left", fontsize=9)
        axes.set_xlim(0, 1.2 * end)
        axes.tick_params(labelsize=8)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel(
        f"speed, times {figures[0]['contender']}: median of rounds, whiskers from the lowest to the highest", fontsize=9
    )
    figure.savefig(path, dpi=120)
