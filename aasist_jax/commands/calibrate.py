"""aasist-jax calibrate: Fit a map from scores to log-likelihood ratios.

Fit it on scores of development data, not on those to be judged. `llr` applies the map to score files. Written as
calibration.json into a weights folder, it is applied by `score` too.
"""

import enum
from typing import Annotated

import typer

from aasist_jax.commands.options import (
    BonafideIs,
    CalibrationOut,
    Keys,
    Prior,
    ScoreName,
    Scores,
    Where,
    chosen_keys,
    joined,
)


class Method(enum.StrEnum):
    """How one system's scores are calibrated."""

    logistic = "logistic"
    isotonic = "isotonic"


def calibrate(
    scores: Scores,
    out: CalibrationOut,
    keys: Keys = None,
    where: Where = None,
    method: Annotated[
        Method, typer.Option(help="logistic: a scale and an offset; isotonic: any rising step curve.")
    ] = Method.logistic,
    prior: Prior = 0.5,
    name: ScoreName = "",
    bonafide_is: BonafideIs = "",
) -> None:
    """Fit a calibration, write it, and print what it gains on these trials."""
    from aasist_jax.calibration.llr import Calibration, fit_isotonic, fit_logistic, save_calibration
    from aasist_jax.commands.tables import print_calibration_losses
    from aasist_jax.evaluation.score_files import read_scores

    system = read_scores(scores, name, bonafide_is)
    trials = joined(system, chosen_keys(system, keys, where, bonafide_is))
    if method is Method.logistic:
        calibration: Calibration = fit_logistic(trials.scores, trials.is_bonafide, prior)
    else:
        calibration = fit_isotonic(trials.scores, trials.is_bonafide)
    save_calibration(calibration, out)
    systems = [(scores.stem, trials.scores), ("calibrated", calibration.apply(trials.scores))]
    print_calibration_losses(systems, trials.is_bonafide)
