"""aasist-jax fuse: Turn several systems' scores into one log-likelihood ratio.

Fits the map from scores of development data, which must not be those to be judged. `llr` applies it.
"""

from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.options import (
    BonafideIs,
    CalibrationOutput,
    Keys,
    Prior,
    ScoreName,
    Where,
    chosen_keys,
    joined,
)
from aasist_jax.errors import ScoreFileError


def fuse(
    scores: Annotated[list[Path], typer.Option(help="Score file of one system; give at least two.")],
    output: CalibrationOutput,
    keys: Keys = None,
    where: Where = None,
    prior: Prior = 0.5,
    name: ScoreName = "",
    bonafide_is: BonafideIs = "",
) -> None:
    """Fit a fusion, write it, and print what it gains on these trials."""
    import numpy as np

    from aasist_jax.calibration.llr import fit_logistic, save_calibration
    from aasist_jax.commands.tables import print_calibration_losses
    from aasist_jax.evaluation.score_files import read_scores

    if len(scores) < 2:
        raise ScoreFileError("fusion needs the scores of at least two systems; give --scores twice")
    systems = [read_scores(path, name, bonafide_is) for path in scores]
    truth = chosen_keys(systems[0], keys, where, bonafide_is)
    trials_of = [joined(system, truth) for system in systems]
    stacked = np.column_stack([trials.scores for trials in trials_of])
    calibration = fit_logistic(stacked, trials_of[0].is_bonafide, prior)
    save_calibration(calibration, output)
    alone = [(path.stem, trials.scores) for path, trials in zip(scores, trials_of, strict=True)]
    print_calibration_losses([*alone, ("fused", calibration.apply(stacked))], trials_of[0].is_bonafide)
