"""Draws an explanation: one spectrogram, one overlay, one sentence. Matplotlib is imported when it is drawn."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.detection.explanation_text import LEAST_EFFECT, explanation_sentence
from aasist_jax.detection.figures import new_figure, plain
from aasist_jax.detection.verdict import Verdict
from aasist_jax.models.explanation import Explanation, Nodes
from aasist_jax.runtime.colours import VERDICTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FFT_SAMPLES, HOP_SAMPLES = 512, 128
DYNAMIC_RANGE = 70.0
"""Range of the spectrogram's shades, in decibels below the loudest point."""

SHORTEST_MARKED = 0.1
"""Shorter clips, in seconds, are repeated too often in a window to mark every repetition."""

FREQUENCY_TICKS = (125, 250, 500, 1000, 2000, 4000, 7000)
OPAQUE = 0.75
"""Opacity of the overlay where the effect is largest."""

LINE_LETTERS = 120


def explanation_figure(
    explanation: Explanation, wave: Float32[np.ndarray, " samples"], title: str, verdict: Verdict
) -> "Figure":
    """Draw an explanation.

    The spectrogram is grey; its frequency axis is warped so that all bands have the same height. Over it lies what
    silencing does to the raw score: the effect of each span of time and the effect of each band, each kind scaled to
    its largest, added up. Dotted lines mark where a recording shorter than the window repeats. The sentence below names
    the strongest parts.

    Args:
        explanation: the explanation of the window.
        wave: the explained samples, at 16 kHz: a window, without the zeros that may follow a short recording in it.
        title: the name of the recording.
        verdict: on the whole recording.
    """
    figure = new_figure(11.0, 5.6)
    axes = figure.add_subplot()
    seconds = np.array(explanation.time.edges)
    heights = np.arange(len(explanation.frequency.edges), dtype=np.float64)
    _draw_spectrogram(axes, explanation, wave, heights)
    _draw_overlay(axes, explanation, seconds, heights)
    box = {"facecolor": VERDICTS[verdict.label], "alpha": 0.35, "linewidth": 0, "boxstyle": "round"}
    figure.suptitle(f"{plain(title)}: {verdict}", fontsize=13, bbox=box)
    axes.set_title("What moved the raw score of its first window", fontsize=10, loc="left")
    lines = textwrap.wrap(explanation_sentence(explanation), LINE_LETTERS)
    axes.set_xlabel("\n".join(["Time, s", "", *lines]), fontsize=10)
    _draw_legend(axes)
    return figure


def overlay_of(explanation: Explanation) -> Float[np.ndarray, "bands spans"]:
    """The effect of each span and band on the score, each kind scaled to its largest, added up; within -1 and 1."""
    time, frequency = (_scaled(nodes) for nodes in (explanation.time, explanation.frequency))
    return (frequency[:, np.newaxis] + time) / 2


def _scaled(nodes: Nodes) -> Float[np.ndarray, " nodes"]:
    effects = np.array(nodes.occlusion, np.float64)
    return effects / max(np.abs(effects).max(initial=0.0), LEAST_EFFECT)


def _draw_spectrogram(axes: "Axes", explanation: Explanation, wave: np.ndarray, heights: np.ndarray) -> None:
    transform = ShortTimeFFT(hann(FFT_SAMPLES), HOP_SAMPLES, SAMPLE_RATE)
    # A clip of any length may be shorter than one frame of the spectrogram.
    wave = np.pad(wave, (0, max(FFT_SAMPLES - wave.size, 0)))
    power = transform.spectrogram(wave.astype(np.float64))
    decibels = 10 * np.log10(np.maximum(power, power.max() * 10 ** (-DYNAMIC_RANGE / 10)))
    edges = np.array(explanation.frequency.edges)
    inside = transform.f <= edges[-1]
    warped = np.interp(transform.f[inside], edges, heights)
    axes.pcolormesh(transform.t(len(wave)), warped, decibels[inside], cmap="gray_r", shading="nearest", rasterized=True)
    if explanation.duration >= SHORTEST_MARKED:
        for start in np.arange(explanation.duration, explanation.window, explanation.duration):
            axes.axvline(start, color="black", linestyle=":", linewidth=1.2)
    ticks = [tick for tick in FREQUENCY_TICKS if edges[0] <= tick <= edges[-1]]
    axes.set_yticks(np.interp(ticks, edges, heights), [f"{tick}" for tick in ticks])
    axes.set(xlim=(0, explanation.window), ylim=(0, heights[-1]), ylabel="Frequency, Hz")


def _draw_overlay(axes: "Axes", explanation: Explanation, seconds: np.ndarray, heights: np.ndarray) -> None:
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    human, machine = to_rgba(VERDICTS["human"], OPAQUE), to_rgba(VERDICTS["synthetic"], OPAQUE)
    nothing = (1.0, 1.0, 1.0, 0.0)
    # Nothing is the colour of either side, transparent, so that no third colour comes in between.
    shades = [(0.0, machine), (0.5, (*machine[:3], 0.0)), (0.5, nothing), (0.5, (*human[:3], 0.0)), (1.0, human)]
    colours = LinearSegmentedColormap.from_list("sides", shades, N=512)
    axes.pcolormesh(seconds, heights, overlay_of(explanation), cmap=colours, vmin=-1, vmax=1, rasterized=True)


def _draw_legend(axes: "Axes") -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(color=VERDICTS["human"], alpha=OPAQUE, label="silenced, the score falls: it spoke for a human"),
        Patch(color=VERDICTS["synthetic"], alpha=OPAQUE, label="silenced, the score rises: it spoke for a machine"),
    ]
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
