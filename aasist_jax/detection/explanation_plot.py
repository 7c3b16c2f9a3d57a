"""Draws an explanation over the spectrogram. Matplotlib is imported when the first figure is drawn."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.models.explanation import Explanation, Nodes
from aasist_jax.runtime.colours import BONAFIDE, SPOOF

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FFT_SAMPLES, HOP_SAMPLES = 512, 128
DYNAMIC_RANGE = 70.0
"""Range of the spectrogram's colours, in decibels below the loudest point."""

SHORTEST_MARKED = 0.1
"""Shorter clips, in seconds, are repeated too often in a window to mark every repetition."""

FREQUENCY_TICKS = (125, 250, 500, 1000, 2000, 4000, 7000)
BRANCH_COLOURS = ("#3d5a80", "#7b5ea7")
VEIL = 0.45
"""Opacity of the veil over nodes that reach the read-out of neither branch."""


def explanation_figure(explanation: Explanation, wave: Float32[np.ndarray, " samples"], title: str) -> "Figure":
    """Draw an explanation.

    The spectrogram's frequency axis is warped so that all bands have the same height. Below and beside the spectrogram,
    bars show how far the score falls when a span or band is silenced. Dotted lines mark where a recording shorter than
    the window repeats.

    If the explanation has branches, strips along the spectrogram's edges mark the nodes that reach the read-out of
    branch 1 and of branch 2, and the spans and bands of the other nodes are veiled. If it has a rollout, a line beside
    the bars shows each node's share.

    Args:
        explanation: the explanation of the window.
        wave: the explained samples, at 16 kHz: a window, without the zeros that may follow a short recording in it.
        title: printed at the top, with the score.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[4, 1.1], height_ratios=[3, 1.2])
    image = figure.add_subplot(grid[0, 0])
    below = figure.add_subplot(grid[1, 0], sharex=image)
    beside = figure.add_subplot(grid[0, 1], sharey=image)

    seconds = np.array(explanation.time.edges)
    heights = np.arange(len(explanation.frequency.edges), dtype=np.float64)
    _draw_spectrogram(image, explanation, wave, heights)
    _draw_survivors(image, explanation, seconds, heights)
    _draw_bars(below, explanation.time, seconds, upright=True)
    _draw_bars(beside, explanation.frequency, heights, upright=False)
    below.set_xlabel("Time, s")
    image.tick_params(labelbottom=False)
    beside.tick_params(labelleft=False)
    _draw_legend(figure.add_subplot(grid[1, 1]), explanation)

    # Matplotlib would typeset text between dollar signs in a file name as mathematics.
    title = title.replace("$", r"\$")
    figure.suptitle(
        f"{title}: {explanation.label}, score {explanation.score:+.2f} ({explanation.model_id})", fontsize=11
    )
    return figure


def _draw_spectrogram(axes: "Axes", explanation: Explanation, wave: np.ndarray, heights: np.ndarray) -> None:
    transform = ShortTimeFFT(hann(FFT_SAMPLES), HOP_SAMPLES, SAMPLE_RATE)
    # A clip of any length may be shorter than one frame of the spectrogram.
    wave = np.pad(wave, (0, max(FFT_SAMPLES - wave.size, 0)))
    power = transform.spectrogram(wave.astype(np.float64))
    decibels = 10 * np.log10(np.maximum(power, power.max() * 10 ** (-DYNAMIC_RANGE / 10)))
    edges = np.array(explanation.frequency.edges)
    inside = transform.f <= edges[-1]
    warped = np.interp(transform.f[inside], edges, heights)
    axes.pcolormesh(transform.t(len(wave)), warped, decibels[inside], cmap="magma", shading="nearest", rasterized=True)
    if explanation.duration >= SHORTEST_MARKED:
        for start in np.arange(explanation.duration, explanation.window, explanation.duration):
            axes.axvline(start, color="white", linestyle=":", linewidth=1.2)
    ticks = [tick for tick in FREQUENCY_TICKS if edges[0] <= tick <= edges[-1]]
    axes.set_yticks(np.interp(ticks, edges, heights), [f"{tick}" for tick in ticks])
    axes.set(xlim=(0, explanation.window), ylim=(0, heights[-1]), ylabel="Frequency, Hz")


def _draw_survivors(axes: "Axes", explanation: Explanation, seconds: np.ndarray, heights: np.ndarray) -> None:
    for nodes, edges, span in (
        (explanation.time, seconds, axes.axvspan),
        (explanation.frequency, heights, axes.axhspan),
    ):
        upright = nodes is explanation.time
        if nodes.branch_pools is None:
            continue
        for i in range(len(edges) - 1):
            branches = [i in kept for kept in nodes.branch_pools]
            if not any(branches):
                span(edges[i], edges[i + 1], color="white", alpha=VEIL, linewidth=0)
            for b, kept in enumerate(branches):
                if kept:
                    _draw_mark(axes, edges[i], edges[i + 1], b, upright=upright)


def _draw_mark(axes: "Axes", low: float, high: float, branch: int, *, upright: bool) -> None:
    """Draw one mark in the strips just outside the spectrogram."""
    from matplotlib.patches import Rectangle

    thickness = 0.02 if upright else 0.006
    offset = 1 + thickness * (0.4 + 1.2 * branch)
    transform = axes.get_xaxis_transform() if upright else axes.get_yaxis_transform()
    corner, size = ((low, offset), (high - low, thickness)) if upright else ((offset, low), (thickness, high - low))
    mark = Rectangle(corner, *size, transform=transform, color=BRANCH_COLOURS[branch], linewidth=0, clip_on=False)
    axes.add_patch(mark)


def _draw_bars(axes: "Axes", nodes: Nodes, edges: Float[np.ndarray, " edges"], *, upright: bool) -> None:
    middles, sizes = (edges[1:] + edges[:-1]) / 2, np.diff(edges) * 0.85
    colours = [BONAFIDE if fall > 0 else SPOOF for fall in nodes.occlusion]
    if upright:
        axes.bar(middles, nodes.occlusion, sizes, color=colours)
        axes.axhline(0, color="0.3", linewidth=0.8)
        axes.set_ylabel("Fall of the score")
    else:
        axes.barh(middles, nodes.occlusion, sizes, color=colours)
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_xlabel("Fall of the score")
    if nodes.rollout is None:
        return
    shares = 100 * np.array(nodes.rollout)
    if upright:
        other = axes.twinx()
        other.plot(middles, shares, color="0.35", linewidth=1)
        other.set(ylabel="Rollout, %", ylim=(0, None))
    else:
        other = axes.twiny()
        other.plot(shares, middles, color="0.35", linewidth=1)
        other.set(xlabel="Rollout, %", xlim=(0, None))


def _draw_legend(axes: "Axes", explanation: Explanation) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Patch | Line2D] = [
        Patch(color=BONAFIDE, label="silenced, the score falls:\nit spoke for a human"),
        Patch(color=SPOOF, label="silenced, the score rises:\nit spoke for a machine"),
    ]
    both = (explanation.time, explanation.frequency)
    if any(nodes.rollout for nodes in both):
        handles.append(Line2D([], [], color="0.35", linewidth=1, label="share by attention rollout"))
    if any(nodes.branch_pools for nodes in both):
        handles += [
            Patch(color=colour, label=f"reaches the read-out of branch {b}")
            for b, colour in enumerate(BRANCH_COLOURS, start=1)
        ]
    axes.set_axis_off()
    axes.legend(handles=handles, loc="center", frameon=False, fontsize=8)
