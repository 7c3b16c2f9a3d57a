"""aasist-jax explain: Tell which times and frequencies carried a score.

It silences spans of time and bands of frequency of the file's first window, and tells how far the score falls.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands.options import Channel, Weights, check_output, weights_folder
from aasist_jax.detection.inputs import printable

SHOWN = 5
"""Spans, and bands, that the table shows: those that move the score most when they are silenced."""


def explain(
    file: Annotated[Path, typer.Argument(help="An audio file.")],
    weights: Weights = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the explanation over the spectrogram, to this .png.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every number as JSON.")] = False,
    channel: Channel = None,
) -> None:
    """Print the explanation of a file's score, and draw it where `plot` says."""
    if plot is not None:
        check_output(plot, (".png",))

    import dataclasses
    from json import dumps

    from rich.console import Console

    from aasist_jax.detection.detector import Detector
    from aasist_jax.runtime.start_up import prepare_to_compute

    prepare_to_compute()
    detector = Detector.from_pretrained(weights_folder(weights))
    explanation = detector.explain(file, channel=channel)
    if plot is not None:
        _draw(plot, file, explanation, detector.window, channel)
    if json:
        print(dumps(dataclasses.asdict(explanation), indent=2))
    else:
        print(f"{explanation.label}, score {explanation.score:+.3f} ({explanation.model_id})")
        Console().print(_table(explanation))


def _draw(plot: Path, file: Path, explanation: Any, window: int, channel: int | None) -> None:
    from aasist_jax.audio.load import load_start
    from aasist_jax.audio.windows import first_window
    from aasist_jax.detection.explanation_plot import explanation_figure
    from aasist_jax.runtime.files import replacing

    start, _ = load_start(file, window, channel=channel)
    figure = explanation_figure(explanation, first_window(start, window), printable(file.name))
    with replacing(plot) as scratch:
        figure.savefig(scratch, format="png", dpi=120)


def _table(explanation: Any) -> Any:
    """The spans and bands that move the score most when they are silenced."""
    import numpy as np
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for name in ("silenced", "score falls by", "rollout, %", "reaches read-out of branch"):
        table.add_column(name, justify="left" if name == "silenced" else "right")
    for nodes, unit in ((explanation.time, "{:.2f} to {:.2f} s"), (explanation.frequency, "{:.0f} to {:.0f} Hz")):
        for i in np.argsort(-np.abs(nodes.occlusion), kind="stable")[:SHOWN].tolist():
            place = unit.format(nodes.edges[i], nodes.edges[i + 1])
            table.add_row(place, f"{nodes.occlusion[i]:+.3f}", f"{100 * nodes.rollout[i]:.1f}", _branches(nodes, i))
        table.add_section()
    return table


def _branches(nodes: Any, i: int) -> str:
    return ", ".join(str(b) for b, kept in enumerate(nodes.branch_pools, start=1) if i in kept) or "none"
