"""Calibration of scores to log-likelihood ratios (bona fide over spoof, natural log), and fusion of several systems.

A calibration is fitted on development scores, stored as JSON in the weights folder, and applied to new scores.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from aasist_jax.errors import ScoreFileError
from aasist_jax.metrics.detection_cost import DetectionCosts
from aasist_jax.metrics.scores import ScoresError
from aasist_jax.runtime.files import read_text, write_text

RIDGE = 1e-6
"""Weight of the L2 penalty on slopes (of standardised scores) in the logistic fit; keeps separable classes finite."""


@dataclass(frozen=True)
class LogisticCalibration:
    """A weighted sum of the systems' scores plus an offset: calibration of one system, fusion of several.

    Attributes:
        slopes: One weight per system.
        offset: Constant added to the sum.
        prior: Prior of bona fide speech for which it was fitted, between 0 and 1.
    """

    slopes: tuple[float, ...]
    offset: float
    prior: float

    def apply(self, scores: Float[np.ndarray, "*trials"]) -> Float[np.ndarray, "trials"]:
        """Log-likelihood ratios of the scores of one system (trials,), or of several (trials, systems).

        Raises:
            ScoresError: The number of systems differs from that in the fit.
        """
        return _by_system(scores, len(self.slopes)) @ np.array(self.slopes) + self.offset


@dataclass(frozen=True)
class IsotonicCalibration:
    """Monotone piecewise linear interpolation between points, constant outside: calibration of one system.

    Attributes:
        scores: Scores of the points, increasing.
        llrs: Log-likelihood ratio of each point, non-decreasing.
    """

    scores: tuple[float, ...]
    llrs: tuple[float, ...]

    def apply(self, scores: Float[np.ndarray, "*trials"]) -> Float[np.ndarray, "trials"]:
        """Log-likelihood ratios of the scores of one system: (trials,) or (trials, 1).

        Raises:
            ScoresError: There are scores of several systems.
        """
        return np.interp(_by_system(scores, 1)[:, 0], self.scores, self.llrs)


Calibration = LogisticCalibration | IsotonicCalibration


def fit_logistic(
    scores: Float[np.ndarray, "*trials"],
    is_bonafide: Bool[np.ndarray, "trials"],
    prior: float = 0.5,
    counts: Float[np.ndarray, "trials"] | None = None,
) -> LogisticCalibration:
    """Fit an affine calibration, or fusion, by prior-weighted logistic regression.

    The weight of each class is its prior, whatever its number of trials (Brümmer et al., "Fusion of heterogeneous
    speaker recognition systems in the STBU submission", IEEE TASLP 15, 2007). With a prior of one half, the objective
    is Cllr.

    Args:
        scores: Scores of one system (trials,), or of several (trials, systems).
        is_bonafide: True for bona fide speech, False for a spoof.
        prior: Prior of bona fide speech, between 0 and 1.
        counts: How much each trial counts among those of its class, above 0; None: all the same.

    Raises:
        ScoresError: A class is empty, a score is not finite, all scores of a system are equal, or the prior is out of
            range.
    """
    # SciPy is imported here because the import is slow and most commands fit nothing.
    from scipy.optimize import minimize
    from scipy.special import expit

    if not 0 < prior < 1:
        raise ScoresError(f"the prior of bona fide speech is {prior}; it must lie between 0 and 1")
    columns = _by_system(scores, None)
    _check_classes(is_bonafide)
    if not np.isfinite(columns).all():
        raise ScoresError("a score to calibrate is NaN or infinite; score that trial again")
    mean, deviation = columns.mean(axis=0), columns.std(axis=0)
    if not deviation.all():
        raise ScoresError(f"system {int(np.argmin(deviation))} gives every trial the same score")
    design = np.column_stack([(columns - mean) / deviation, np.ones(len(columns))])
    sign = np.where(is_bonafide, 1.0, -1.0)
    count = np.ones(len(columns)) if counts is None else counts
    weight = count * np.where(is_bonafide, prior / count[is_bonafide].sum(), (1 - prior) / count[~is_bonafide].sum())
    log_odds = math.log(prior / (1 - prior))
    ridge = np.append(np.full(columns.shape[1], RIDGE), 0.0)

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (design @ parameters + log_odds)
        gradient = design.T @ (-weight * sign * expit(-margin)) + ridge * parameters
        return float(weight @ np.logaddexp(0, -margin) + ridge @ parameters**2 / 2), gradient

    def curvature(parameters: np.ndarray) -> np.ndarray:
        probability = expit(design @ parameters + log_odds)
        return (design.T * (weight * probability * (1 - probability))) @ design + np.diag(ridge)

    start = np.zeros(design.shape[1])
    fitted = minimize(objective, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-10}).x
    slopes = fitted[:-1] / deviation
    return LogisticCalibration(tuple(slopes.tolist()), float(fitted[-1] - slopes @ mean), prior)


def fit_isotonic(scores: Float[np.ndarray, "*trials"], is_bonafide: Bool[np.ndarray, "trials"]) -> IsotonicCalibration:
    """Fit a monotone calibration of one system by pooling adjacent violators.

    An additional trial of each class at both ends keeps the ratios finite, as in Laplace's rule of succession (Brümmer
    and de Villiers, "The BOSARIS toolkit user guide", 2011). Each pool becomes one point at its mean score.

    Raises:
        ScoresError: A class is empty, a score is not finite, or there are scores of several systems.
    """
    from scipy.optimize import isotonic_regression

    column = _by_system(scores, 1)[:, 0]
    _check_classes(is_bonafide)
    if not np.isfinite(column).all():
        raise ScoresError("a score to calibrate is NaN or infinite; score that trial again")
    lowest, highest = column.min(), column.max()
    column = np.concatenate([[lowest, lowest], column, [highest, highest]])
    label = np.concatenate([[1, 0], is_bonafide, [1, 0]])
    values, group = np.unique(column, return_inverse=True)
    trials, bonafide = np.bincount(group), np.bincount(group, weights=label)
    pools = isotonic_regression(bonafide / trials, weights=trials)
    first = pools.blocks[:-1]
    pool_trials, pool_bonafide = np.add.reduceat(trials, first), np.add.reduceat(bonafide, first)
    pool_score = np.add.reduceat(values * trials, first) / pool_trials
    prior_log_odds = math.log(label.sum() / (label.size - label.sum()))
    llrs = np.log(pool_bonafide) - np.log(pool_trials - pool_bonafide) - prior_log_odds
    return IsotonicCalibration(tuple(pool_score.tolist()), tuple(llrs.tolist()))


def probability_of_spoof(llr: Float[np.ndarray, "*trials"], p_spoof: float) -> Float[np.ndarray, "*trials"]:
    """Posterior probability of a spoof by Bayes' rule, from log-likelihood ratios and the prior of a spoof.

    Raises:
        ScoresError: The prior is not between 0 and 1.
    """
    from scipy.special import expit

    if not 0 < p_spoof < 1:
        raise ScoresError(f"the prior of a spoof is {p_spoof}; it must lie between 0 and 1")
    return np.asarray(expit(math.log(p_spoof / (1 - p_spoof)) - llr))


def bayes_decisions(llr: Float[np.ndarray, "*trials"], costs: DetectionCosts) -> Bool[np.ndarray, "*trials"]:
    """True where accepting the trial as bona fide has the lower expected cost at these costs and priors."""
    return llr >= costs.bayes_threshold


def save_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration as JSON; `load_calibration` reads back the same numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(calibration_to_json(calibration), indent=1) + "\n")


def calibration_to_json(calibration: Calibration) -> dict[str, Any]:
    """The calibration as a JSON object."""
    kind = "logistic" if isinstance(calibration, LogisticCalibration) else "isotonic"
    return {"kind": kind, **vars(calibration)}


def load_calibration(path: Path) -> Calibration:
    """Read a calibration that `save_calibration` wrote.

    Raises:
        ScoreFileError: The file cannot be read or is not a calibration.
    """
    try:
        content: dict[str, Any] = json.loads(read_text(path))
        match content.pop("kind"):
            case "logistic":
                slopes = tuple(float(slope) for slope in content["slopes"])
                return LogisticCalibration(slopes, float(content["offset"]), float(content["prior"]))
            case "isotonic":
                scores = tuple(float(score) for score in content["scores"])
                llrs = tuple(float(llr) for llr in content["llrs"])
                if len(scores) != len(llrs) or not scores or np.any(np.diff(scores) <= 0):
                    raise ValueError("its scores must rise, with one ratio each")
                return IsotonicCalibration(scores, llrs)
            case kind:
                raise ValueError(f"its kind is {kind!r}, neither logistic nor isotonic")
    except OSError as error:
        raise ScoreFileError(f"cannot read {path}: {error.strerror}") from error
    except KeyError as error:
        raise ScoreFileError(f"{path} is not a calibration: it has no {error}") from error
    except RecursionError:
        raise ScoreFileError(f"{path} is not a calibration: it is nested too deep") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ScoreFileError(f"{path} is not a calibration: {error}") from error


def _by_system(scores: np.ndarray, systems: int | None) -> np.ndarray:
    """The scores as an array (trials, systems)."""
    columns = np.asarray(scores, dtype=np.float64)
    if columns.ndim == 1:
        columns = columns[:, np.newaxis]
    if systems is not None and columns.shape[1] != systems:
        raise ScoresError(f"scores of {columns.shape[1]} systems for a calibration of {systems}; give as many")
    return columns


def _check_classes(is_bonafide: np.ndarray) -> None:
    if is_bonafide.all() or not is_bonafide.any():
        raise ScoresError("the trials to calibrate on are all of one class; give both bona fide speech and spoofs")
