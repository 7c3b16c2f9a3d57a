"""How well calibrations carry over to other speakers."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from aasist_jax.calibration.llr import fit_isotonic, fit_logistic
from aasist_jax.evaluation.score_files import Trials, join, read_keys, read_scores
from aasist_jax.metrics.calibration_loss import cllr_bits, min_cllr_bits
from benchmarks.options import Options
from benchmarks.rounds import Table

SPLITS, BAR = 40, 1.05


def calibration(options: Options) -> list[Table]:
    """Fit calibrations on a random half of the speakers; Cllr on the other half over the least Cllr of that half.

    The last one is fitted on the very trials that it is measured on.
    """
    trials = join(read_scores(options.path("scores")), read_keys(options.path("keys")))
    speakers = trials.columns["speaker"]
    found: dict[str, list[float]] = {}
    for seed in range(SPLITS):
        random, names = np.random.default_rng(seed), np.unique(speakers)
        half = np.isin(speakers, random.choice(names, names.size // 2, replace=False))
        some = random.random(speakers.size) < 0.5
        for name, fit, fitted, measured in (
            ("logistic, other speakers", fit_logistic, ~half, half),
            ("isotonic, other speakers", fit_isotonic, ~half, half),
            ("beta (two slopes), other speakers", fit_beta, ~half, half),
            ("isotonic, other trials of all speakers", fit_isotonic, ~some, some),
            ("isotonic, the same trials", fit_isotonic, half, half),
        ):
            found.setdefault(name, []).append(_cllr_ratio(fit, trials, fitted, measured))
    quantiles = {name: np.quantile(values, [0, 0.25, 0.5, 0.75, 1]) for name, values in found.items()}
    rows = [(name, *quantiles[name], f"{sum(x <= BAR for x in v)} of {SPLITS}") for name, v in found.items()]
    columns = "fitted on, measured on | least:.3f | quarter:.3f | median:.3f | three quarters:.3f | most:.3f"
    return [Table("Cllr over min Cllr", f"{columns} | at most {BAR:g}", rows)]


def fit_beta(scores: np.ndarray, is_bonafide: np.ndarray) -> Any:
    """Beta calibration of the logistic posterior: a slope of its own on either side (Kull et al., AISTATS 2017)."""
    first = fit_logistic(scores, is_bonafide)

    def log_posteriors(scores: np.ndarray) -> np.ndarray:
        return np.logaddexp(0, np.outer(first.apply(scores), [-1, 1])) * [-1, 1]

    second = fit_logistic(log_posteriors(scores), is_bonafide)
    return SimpleNamespace(apply=lambda scores: second.apply(log_posteriors(scores)))


def _cllr_ratio(fit: Any, trials: Trials, fitted: np.ndarray, measured: np.ndarray) -> float:
    scores, bonafide = trials.scores[measured], trials.is_bonafide[measured]
    llrs = fit(trials.scores[fitted], trials.is_bonafide[fitted]).apply(scores)
    return cllr_bits(llrs[bonafide], llrs[~bonafide]) / min_cllr_bits(scores[bonafide], scores[~bonafide])
