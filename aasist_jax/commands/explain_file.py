"""Explain the score of one file: the work behind `aasist-jax explain`."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from aasist_jax.audio.load import load_start
from aasist_jax.audio.windows import first_window
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.inputs import printable
from aasist_jax.models.explanation import Explanation, Nodes

SHOWN = 5


def explain_file(file: Path, weights: Path, plot: Path | None, as_json: bool, channel: int | None = None) -> None:
    """Print the explanation of a file's score on standard output, and draw it where `plot` says.

    Raises:
        AudioError: the file cannot be scored, or is silent.
        ConfigError: the architecture is not AASIST.
        OSError: the picture cannot be written.
    """
    detector = Detector.from_pretrained(weights)
    explanation = detector.explain(file, channel=channel)
    if plot:
        from aasist_jax.detection.explanation_plot import explanation_figure

        start, _ = load_start(file, detector.window, channel=channel)
        figure = explanation_figure(explanation, first_window(start, detector.window), printable(file.name))
        figure.savefig(plot, format="png", dpi=120)
    if as_json:
        print(json.dumps(dataclasses.asdict(explanation), indent=2))
    else:
        print(f"{explanation.label}, score {explanation.score:+.3f} ({explanation.model_id})")
        Console().print(_table(explanation))


def _table(explanation: Explanation) -> Table:
    """The spans and bands that move the score most when they are silenced."""
    table = Table(box=box.SIMPLE)
    for name in ("silenced", "score falls by", "rollout, %", "reaches read-out of branch"):
        table.add_column(name, justify="left" if name == "silenced" else "right")
    for nodes, unit in ((explanation.time, "{:.2f} to {:.2f} s"), (explanation.frequency, "{:.0f} to {:.0f} Hz")):
        for i in np.argsort(-np.abs(nodes.occlusion), kind="stable")[:SHOWN].tolist():
            place = unit.format(nodes.edges[i], nodes.edges[i + 1])
            table.add_row(place, f"{nodes.occlusion[i]:+.3f}", f"{100 * nodes.rollout[i]:.1f}", _branches(nodes, i))
        table.add_section()
    return table


def _branches(nodes: Nodes, i: int) -> str:
    return ", ".join(str(b) for b, kept in enumerate(nodes.branch_pools, start=1) if i in kept) or "none"
