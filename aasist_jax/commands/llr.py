"""aasist-jax llr: Turn scores into log-likelihood ratios, or into P(spoof).

It applies what `calibrate` or `fuse` has fitted. A ratio above 0 speaks for bona fide speech, one below 0 for a spoof;
they are natural logarithms.
"""

import enum
from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.options import CostFalseAlarm, CostMiss, PSpoof, ScoreName
from aasist_jax.runtime.messages import say


class Layout(enum.StrEnum):
    """Layouts of a score file that hold no keys."""

    asvspoof2021 = "2021"
    asvspoof5 = "asvspoof5"


def llr(
    scores: Annotated[
        list[Path], typer.Option(help="Score file; after `fuse` one for each system, in the same order.")
    ],
    calibration: Annotated[Path, typer.Option(help="File that `calibrate` or `fuse` wrote.")],
    output: Annotated[Path, typer.Option(help="Score file to write.")],
    layout: Annotated[Layout, typer.Option(help="Layout of the file to write.")] = Layout.asvspoof2021,
    probability: Annotated[
        bool,
        typer.Option(
            "--probability", help="Write the probability of a spoof, given the prior --p-spoof, instead of the ratio."
        ),
    ] = False,
    p_spoof: PSpoof = 0.05,
    cost_miss: CostMiss = 1.0,
    cost_false_alarm: CostFalseAlarm = 10.0,
    name: ScoreName = "",
) -> None:
    """Apply a calibration or a fusion, write the ratios, and print how many trials pass at these costs."""
    import numpy as np

    from aasist_jax.calibration.llr import bayes_decisions, load_calibration, probability_of_spoof
    from aasist_jax.evaluation import score_files
    from aasist_jax.metrics.detection_cost import DetectionCosts

    costs = DetectionCosts(p_spoof, cost_miss, cost_false_alarm)
    systems = [score_files.read_scores(path, name) for path in scores]
    for note in (note for system in systems for note in system.notes):
        say(note)
    first = systems[0]
    columns = [score_files.in_order(system, first.utterances, first.source) for system in systems]
    ratios = load_calibration(calibration).apply(np.column_stack(columns))
    accepted = int(bayes_decisions(ratios, costs).sum())
    values = probability_of_spoof(ratios, p_spoof) if probability else ratios
    score_files.write_scores(output, score_files.Scores(str(output), first.utterances, values), layout.value)
    print(f"threshold {costs.bayes_threshold:.4f}: {accepted} of {ratios.size} accepted as bona fide")
