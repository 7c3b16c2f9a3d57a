"""How well calibrations carry over to other speakers: `python scripts/benchmark_calibration.py --scores FILE`.

Fits each on a random half of the speakers and measures Cllr on the other half, over the least Cllr of that half; prints
the spread over many splits. The last row is fitted on the very trials it is measured on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from aasist_jax.calibration.llr import fit_isotonic, fit_logistic
from aasist_jax.commands.app import run
from aasist_jax.evaluation.score_files import join, read_keys, read_scores
from aasist_jax.metrics.calibration_loss import cllr_bits, min_cllr_bits

Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


def fit_beta(scores: np.ndarray, is_bonafide: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Beta calibration of the logistic posterior: a slope of its own on either side (Kull et al., AISTATS 2017)."""
    first = fit_logistic(scores, is_bonafide)

    def log_posteriors(scores: np.ndarray) -> np.ndarray:
        ratios = first.apply(scores)
        return np.stack([-np.logaddexp(0, -ratios), np.logaddexp(0, ratios)], axis=1)

    second = fit_logistic(log_posteriors(scores), is_bonafide)
    return lambda scores: second.apply(log_posteriors(scores))


FITS: dict[str, Fit] = {
    "logistic": lambda scores, is_bonafide: fit_logistic(scores, is_bonafide).apply,
    "isotonic": lambda scores, is_bonafide: fit_isotonic(scores, is_bonafide).apply,
    "beta": fit_beta,
}


def main(
    scores: Annotated[Path, typer.Option(help="Score file of any layout.")],
    keys: Annotated[Path, typer.Option(help="Its protocol, with speakers.")],
    splits: Annotated[int, typer.Option(min=1, help="Random halves of the speakers.")] = 40,
    bar: Annotated[float, typer.Option(help="Count the splits where Cllr is at most this times the least.")] = 1.05,
) -> None:
    """Measure calibrations on speakers they were not fitted on."""
    trials = join(read_scores(scores), read_keys(keys))
    speakers = trials.columns["speaker"]
    names = np.unique(speakers)
    ratios: dict[str, list[float]] = {}
    for seed in range(splits):
        random = np.random.default_rng(seed)
        some_speakers = np.isin(speakers, random.choice(names, names.size // 2, replace=False))
        some_trials = random.random(speakers.size) < 0.5
        for name, fit in FITS.items():
            ratio = _ratio(fit, trials.scores, trials.is_bonafide, ~some_speakers, some_speakers)
            ratios.setdefault(f"{name}, other speakers", []).append(ratio)
        isotonic = FITS["isotonic"]
        ratio = _ratio(isotonic, trials.scores, trials.is_bonafide, ~some_trials, some_trials)
        ratios.setdefault("isotonic, other trials of all speakers", []).append(ratio)
        ratio = _ratio(isotonic, trials.scores, trials.is_bonafide, some_speakers, some_speakers)
        ratios.setdefault("isotonic, the same trials", []).append(ratio)
    table = Table("Cllr over min Cllr", "least", "quarter", "median", "three quarters", "most", f"<= {bar:g}", box=None)
    for name, values in ratios.items():
        spread = (f"{value:.3f}" for value in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
        table.add_row(name, *spread, f"{sum(value <= bar for value in values)} of {splits}")
    Console().print(table)


def _ratio(fit: Fit, scores: np.ndarray, is_bonafide: np.ndarray, fitted: np.ndarray, measured: np.ndarray) -> float:
    llrs, bonafide = fit(scores[fitted], is_bonafide[fitted])(scores[measured]), is_bonafide[measured]
    raw = scores[measured]
    return cllr_bits(llrs[bonafide], llrs[~bonafide]) / min_cllr_bits(raw[bonafide], raw[~bonafide])


if __name__ == "__main__":
    run(main)
