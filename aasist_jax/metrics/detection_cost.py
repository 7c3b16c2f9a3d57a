"""Detection cost: the expected cost of the two errors at given priors (ASVspoof 5 evaluation plan, 2024)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aasist_jax.metrics.error_rates import ErrorCurve, PerResample, det_points, error_rates_at
from aasist_jax.metrics.scores import BonafideScores, ScoresError, SpoofScores


@dataclass(frozen=True)
class DetectionCosts:
    """Prior of a spoof and the cost of each error; the defaults are those of ASVspoof 5.

    Attributes:
        p_spoof: Prior probability of a spoof, between 0 and 1.
        miss: Cost of rejecting a bona fide trial, above 0.
        false_alarm: Cost of accepting a spoof, above 0.
    """

    p_spoof: float = 0.05
    miss: float = 1.0
    false_alarm: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.p_spoof < 1:
            raise ScoresError(f"the prior of a spoof is {self.p_spoof}; it must lie between 0 and 1")
        if not (0 < self.miss < math.inf and 0 < self.false_alarm < math.inf):
            raise ScoresError(f"the costs are {self.miss} and {self.false_alarm}; both must be above 0")

    @property
    def miss_weight(self) -> float:
        """Cost of a miss times the prior of a bona fide trial."""
        return self.miss * (1 - self.p_spoof)

    @property
    def false_alarm_weight(self) -> float:
        """Cost of a false alarm times the prior of a spoof."""
        return self.false_alarm * self.p_spoof

    @property
    def uninformed(self) -> float:
        """Cost of the better of two uninformed rules: accept all trials, or reject all."""
        return min(self.miss_weight, self.false_alarm_weight)

    @property
    def bayes_threshold(self) -> float:
        """The log-likelihood ratio (bona fide over spoof, natural log) from which on accepting costs less."""
        return -math.log(self.miss_weight / self.false_alarm_weight)


ASVSPOOF5_COSTS = DetectionCosts()


def expected_cost(
    bonafide: BonafideScores, spoof: SpoofScores, threshold: float, costs: DetectionCosts = ASVSPOOF5_COSTS
) -> float:
    """Mean cost per trial if scores at or above the threshold are accepted, in the unit of `costs`.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    miss, false_alarm = error_rates_at(bonafide, spoof, threshold)
    return costs.miss_weight * miss + costs.false_alarm_weight * false_alarm


def least_cost_of(curve: ErrorCurve, miss_weight: float, false_alarm_weight: float) -> PerResample:
    """Minimum over all thresholds of the weighted sum of the two error rates."""
    return np.min(_costs_of(curve, miss_weight, false_alarm_weight), axis=-1)


def min_dcf(bonafide: BonafideScores, spoof: SpoofScores, costs: DetectionCosts = ASVSPOOF5_COSTS) -> float:
    """Minimum expected cost over all thresholds, divided by the uninformed cost; from 0 to 1.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    return float(min_dcf_of(det_points(bonafide, spoof), costs))


def min_dcf_of(curve: ErrorCurve, costs: DetectionCosts = ASVSPOOF5_COSTS) -> PerResample:
    """Minimum normalised costs; see `min_dcf`."""
    return least_cost_of(curve, costs.miss_weight, costs.false_alarm_weight) / costs.uninformed


def cheapest_threshold(bonafide: BonafideScores, spoof: SpoofScores, costs: DetectionCosts = ASVSPOOF5_COSTS) -> float:
    """The lowest threshold that gives `min_dcf`; infinite if it is best to accept nothing.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    return float(cheapest_threshold_of(det_points(bonafide, spoof), costs))


def cheapest_threshold_of(curve: ErrorCurve, costs: DetectionCosts = ASVSPOOF5_COSTS) -> PerResample:
    """Lowest thresholds of minimum cost; see `cheapest_threshold`."""
    return curve.thresholds[np.argmin(_costs_of(curve, costs.miss_weight, costs.false_alarm_weight), axis=-1)]


def act_dcf(bonafide: BonafideScores, spoof: SpoofScores, costs: DetectionCosts = ASVSPOOF5_COSTS) -> float:
    """Expected cost at the Bayes threshold, divided by the uninformed cost; scores are log-likelihood ratios.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    return float(act_dcf_of(det_points(bonafide, spoof), costs))


def act_dcf_of(curve: ErrorCurve, costs: DetectionCosts = ASVSPOOF5_COSTS) -> PerResample:
    """Normalised costs at the Bayes threshold; see `act_dcf`."""
    point = np.searchsorted(curve.thresholds, costs.bayes_threshold)
    miss = curve.missed[..., point] / curve.missed[..., -1]
    false_alarm = curve.accepted[..., point] / curve.accepted[..., 0]
    return (costs.miss_weight * miss + costs.false_alarm_weight * false_alarm) / costs.uninformed


def _costs_of(
    curve: ErrorCurve, miss_weight: float, false_alarm_weight: float
) -> Float[np.ndarray, "*resamples points"]:
    """Weighted sum of the two error rates at every threshold."""
    return miss_weight * curve.miss + false_alarm_weight * curve.false_alarm
