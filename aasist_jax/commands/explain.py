"""aasist-jax explain: Tell which times and frequencies moved a recording's score.

The verdict is the one of `score`. Then spans of time and bands of frequency of the first window are silenced, one after
the other: what speaks for a human makes the raw score fall.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands.options import (
    Channel,
    Sure,
    SyntheticPrior,
    Weights,
    check_output,
    decision_rule,
    judging_detector,
)


def explain(
    file: Annotated[Path, typer.Argument(help="An audio file.")],
    weights: Weights = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the explanation over the spectrogram, to this .png.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every number as JSON.")] = False,
    sure: Sure = 0.9,
    prior: SyntheticPrior = 0.5,
    channel: Channel = None,
) -> None:
    """Print the verdict on a recording and what moved its raw score, and draw it where `plot` says."""
    if plot is not None:
        check_output(plot, (".png",))
    rule = decision_rule(prior, sure)

    from json import dumps

    from aasist_jax.detection.explanation_text import explanation_dict, explanation_sentence

    detector = judging_detector(weights)
    # First what may fail at once: not every family explains, and not every recording can be explained.
    explanation = detector.explain(file, channel=channel)
    result = detector.score(file, channel=channel, rule=rule)
    if plot is not None:
        _draw(plot, file, explanation, result, detector, channel)
    if json:
        found = {"file": str(file), **result.to_dict(), "explanation": explanation_dict(explanation)}
        print(dumps(found, indent=2))
    else:
        _print(file, result, explanation_sentence(explanation))


def _draw(plot: Path, file: Path, explanation: Any, result: Any, detector: Any, channel: int | None) -> None:
    from aasist_jax.audio.load import load_start
    from aasist_jax.detection.explanation_plot import explanation_figure
    from aasist_jax.detection.figures import png_of
    from aasist_jax.runtime.files import write_bytes

    window, length = detector.fill(load_start(file, detector.window, channel=channel)[0])
    write_bytes(plot, png_of(explanation_figure(explanation, window[:length], file.name, result.verdict)))


def _print(file: Path, result: Any, why: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from aasist_jax.commands.score import verdict_line

    console = Console()
    for part in (verdict_line(str(file), result), Text(why)):
        console.print(part)
