"""aasist-jax fuse: Turn several systems' scores into one log-likelihood ratio.

Fits the map from scores of development data, which must not be those to be judged. `llr` applies it.
"""

from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.options import CalibrationOut, Keys, Prior, Where, chosen_keys
from aasist_jax.errors import ScoreFileError


def fuse(
    scores: Annotated[list[Path], typer.Option(help="Score file of one system; give at least two.")],
    out: CalibrationOut,
    keys: Keys = None,
    where: Where = None,
    prior: Prior = 0.5,
) -> None:
    """Fit a fusion, write it, and print what it gains on these trials."""
    import numpy as np

    from aasist_jax.calibration.llr import fit_logistic, save_calibration
    from aasist_jax.commands.tables import print_calibration_losses
    from aasist_jax.evaluation.score_files import join, read_scores

    if len(scores) < 2:
        raise ScoreFileError("fusion needs the scores of at least two systems; give --scores twice")
    systems = [read_scores(path) for path in scores]
    truth = chosen_keys(systems[0], keys, where)
    joined = [join(system, truth) for system in systems]
    stacked = np.column_stack([trials.scores for trials in joined])
    calibration = fit_logistic(stacked, joined[0].is_bonafide, prior)
    save_calibration(calibration, out)
    alone = [(path.stem, trials.scores) for path, trials in zip(scores, joined, strict=True)]
    print_calibration_losses([*alone, ("fused", calibration.apply(stacked))], joined[0].is_bonafide)
