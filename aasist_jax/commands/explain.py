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
        _draw(plot, file, explanation, detector, channel)
    if json:
        print(dumps(dataclasses.asdict(explanation, dict_factory=_without_none), indent=2))
    else:
        print(f"{explanation.label}, score {explanation.score:+.3f} ({explanation.model_id})")
        Console().print(_table(explanation))


def _without_none(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Leave out what the family does not give."""
    return {name: value for name, value in items if value is not None}


def _draw(plot: Path, file: Path, explanation: Any, detector: Any, channel: int | None) -> None:
    from aasist_jax.audio.load import load_start
    from aasist_jax.detection.explanation_plot import explanation_figure
    from aasist_jax.runtime.files import replacing

    window, length = detector.fill(load_start(file, detector.window, channel=channel)[0])
    figure = explanation_figure(explanation, window[:length], printable(file.name))
    with replacing(plot) as scratch:
        figure.savefig(scratch, format="png", dpi=120)


def _table(explanation: Any) -> Any:
    """The spans and bands that move the score most when they are silenced."""
    import numpy as np
    from rich import box
    from rich.table import Table

    kinds = ((explanation.time, "{:.2f} to {:.2f} s"), (explanation.frequency, "{:.0f} to {:.0f} Hz"))
    columns = ["silenced", "score falls by"]
    columns += ["rollout, %"] if any(nodes.rollout for nodes, _ in kinds) else []
    columns += ["reaches read-out of branch"] if any(nodes.branch_pools for nodes, _ in kinds) else []
    table = Table(box=box.SIMPLE)
    for name in columns:
        table.add_column(name, justify="left" if name == "silenced" else "right")
    for nodes, unit in kinds:
        for i in np.argsort(-np.abs(nodes.occlusion), kind="stable")[:SHOWN].tolist():
            cells = {
                "silenced": unit.format(nodes.edges[i], nodes.edges[i + 1]),
                "score falls by": f"{nodes.occlusion[i]:+.3f}",
                "rollout, %": f"{100 * nodes.rollout[i]:.1f}" if nodes.rollout else "",
                "reaches read-out of branch": _branches(nodes, i) if nodes.branch_pools else "",
            }
            table.add_row(*(cells[name] for name in columns))
        table.add_section()
    return table


def _branches(nodes: Any, i: int) -> str:
    return ", ".join(str(b) for b, kept in enumerate(nodes.branch_pools, start=1) if i in kept) or "none"
