"""Metrics of countermeasure and speaker verification (ASV) together: t-DCF, a-DCF and t-EER."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aasist_jax.metrics.detection_cost import least_cost_of
from aasist_jax.metrics.error_rates import ErrorCurve, PerResample, det_points, equal_error_rate
from aasist_jax.metrics.scores import BonafideScores, ScoresError, SpoofScores, checked


@dataclass(frozen=True)
class AsvErrorRates:
    """Error rates, from 0 to 1, of a verification system at a fixed threshold.

    Attributes:
        eer: Equal error rate of targets against non-targets.
        threshold: The threshold, that of the equal error rate.
        p_fa: Share of non-targets accepted.
        p_miss: Share of targets rejected.
        p_miss_spoof: Share of spoofs rejected.
    """

    eer: float
    threshold: float
    p_fa: float
    p_miss: float
    p_miss_spoof: float


@dataclass(frozen=True)
class _Priors:
    """Priors of the three classes of trial, summing to 1; the defaults are those of ASVspoof 2019, 2021 and 5."""

    p_target: float = 0.9405
    p_nontarget: float = 0.0095
    p_spoof: float = 0.05

    def __post_init__(self) -> None:
        priors = self.p_target, self.p_nontarget, self.p_spoof
        if min(priors) < 0 or abs(sum(priors) - 1) > 1e-9:
            raise ScoresError(f"the priors of target, non-target and spoof are {priors}; they must sum to 1")
        costs = {name: value for name, value in vars(self).items() if name not in _Priors.__dataclass_fields__}
        if not all(0 <= cost < math.inf for cost in costs.values()):
            raise ScoresError(f"the costs are {costs}; each must be a finite number, at least 0")


@dataclass(frozen=True)
class TandemCosts(_Priors):
    """Priors, and separate costs for the errors of ASV and countermeasure; the defaults are those of ASVspoof 2019."""

    asv_miss: float = 1.0
    asv_false_alarm: float = 10.0
    cm_miss: float = 1.0
    cm_false_alarm: float = 10.0


@dataclass(frozen=True)
class SpoofAwareCosts(_Priors):
    """Priors, and costs of the errors of verification as a whole; the defaults are those of ASVspoof 2021 and 5."""

    miss: float = 1.0
    nontarget_false_alarm: float = 10.0
    spoof_false_alarm: float = 10.0


ASVSPOOF2019_COSTS = TandemCosts()
SPOOF_AWARE_COSTS = SpoofAwareCosts()


def asv_error_rates(
    target: Float[np.ndarray, "target"],
    nontarget: Float[np.ndarray, "nontarget"],
    spoof: Float[np.ndarray, "asv_spoof"],
) -> AsvErrorRates:
    """Error rates of a verification system at the threshold of its equal error rate.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    target, nontarget = checked(target, "target"), checked(nontarget, "non-target")
    spoof = checked(spoof, "ASV spoof")
    at = equal_error_rate(target, nontarget)
    return AsvErrorRates(
        eer=at.eer,
        threshold=at.threshold,
        p_fa=float(np.mean(nontarget >= at.threshold)),
        p_miss=float(np.mean(target < at.threshold)),
        p_miss_spoof=float(np.mean(spoof < at.threshold)),
    )


def min_tdcf_2019(
    bonafide: BonafideScores, spoof: SpoofScores, asv: AsvErrorRates, costs: TandemCosts = ASVSPOOF2019_COSTS
) -> float:
    """Minimum normalised tandem detection cost over the thresholds of the countermeasure, as in ASVspoof 2019.

    Kinnunen et al., "t-DCF: a detection cost function for the tandem assessment of spoofing countermeasures
    and automatic speaker verification", Odyssey 2018, equation 10, without the cost of the ASV's own errors.

    Raises:
        ScoresError: A class is empty, a score is NaN or infinite, fewer than three scores differ, or the ASV
            is so poor that a weight is not positive.
    """
    return float(min_tdcf_2019_of(det_points(bonafide, spoof), asv, costs))


def min_tdcf_2019_of(curve: ErrorCurve, asv: AsvErrorRates, costs: TandemCosts = ASVSPOOF2019_COSTS) -> PerResample:
    """Minimum costs; see `min_tdcf_2019`. The error rates of the ASV are held fixed."""
    miss_weight = (
        costs.p_target * (costs.cm_miss - costs.asv_miss * asv.p_miss)
        - costs.p_nontarget * costs.asv_false_alarm * asv.p_fa
    )
    false_alarm_weight = costs.cm_false_alarm * costs.p_spoof * (1 - asv.p_miss_spoof)
    return _least_tandem_cost(curve, 0.0, miss_weight, false_alarm_weight)


def min_tdcf_2021(
    bonafide: BonafideScores, spoof: SpoofScores, asv: AsvErrorRates, costs: SpoofAwareCosts = SPOOF_AWARE_COSTS
) -> float:
    """Minimum normalised tandem detection cost over the thresholds of the countermeasure, as in ASVspoof 2021.

    Kinnunen et al., "Tandem assessment of spoofing countermeasures and automatic speaker verification:
    fundamentals", IEEE/ACM TASLP 28, 2020. It includes the cost of the ASV's own errors, so even a perfect
    countermeasure does not reach 0.

    Raises:
        ScoresError: A class is empty, a score is NaN or infinite, fewer than three scores differ, or the ASV
            is so poor that a weight is not positive.
    """
    return float(min_tdcf_2021_of(det_points(bonafide, spoof), asv, costs))


def min_tdcf_2021_of(curve: ErrorCurve, asv: AsvErrorRates, costs: SpoofAwareCosts = SPOOF_AWARE_COSTS) -> PerResample:
    """Minimum costs; see `min_tdcf_2021`. The error rates of the ASV are held fixed."""
    asv_cost = costs.p_target * costs.miss * asv.p_miss + costs.p_nontarget * costs.nontarget_false_alarm * asv.p_fa
    miss_weight = costs.p_target * costs.miss - asv_cost
    false_alarm_weight = costs.p_spoof * costs.spoof_false_alarm * (1 - asv.p_miss_spoof)
    return _least_tandem_cost(curve, asv_cost, miss_weight, false_alarm_weight)


def _least_tandem_cost(
    curve: ErrorCurve, asv_cost: float, miss_weight: float, false_alarm_weight: float
) -> PerResample:
    if miss_weight <= 0 or false_alarm_weight <= 0:
        raise ScoresError(
            f"the t-DCF weights of miss and false alarm are {miss_weight:g} and {false_alarm_weight:g}; both "
            "must be positive: check the ASV scores and the costs"
        )
    # The last point accepts nothing; every other one is a distinct score.
    distinct = curve.thresholds.size - 1
    if distinct < 3:
        raise ScoresError(
            f"only {distinct} different scores; the t-DCF needs soft scores, not decisions: score again and "
            "keep the detector's raw output"
        )
    least = asv_cost + least_cost_of(curve, miss_weight, false_alarm_weight)
    return least / (asv_cost + min(miss_weight, false_alarm_weight))


def min_a_dcf(
    target: Float[np.ndarray, "target"],
    nontarget: Float[np.ndarray, "nontarget"],
    spoof: SpoofScores,
    costs: SpoofAwareCosts = SPOOF_AWARE_COSTS,
) -> float:
    """Minimum normalised architecture-agnostic detection cost over the thresholds of one verification score.

    One system gives one score and should accept targets only. Shim et al., "a-DCF: an architecture agnostic
    metric with application to spoofing-robust speaker verification", Odyssey 2024, equations 1 and 2.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    target = np.sort(checked(target, "target"))
    nontarget, spoof = np.sort(checked(nontarget, "non-target")), np.sort(checked(spoof, "spoof"))
    # Between two targets a higher threshold costs nothing, so only their scores can be best, or accepting none.
    thresholds = np.append(target, np.inf)
    miss_weight = costs.miss * costs.p_target
    nontarget_weight = costs.nontarget_false_alarm * costs.p_nontarget
    spoof_weight = costs.spoof_false_alarm * costs.p_spoof
    cost = (
        miss_weight * np.searchsorted(target, thresholds) / target.size
        + nontarget_weight * (1 - np.searchsorted(nontarget, thresholds) / nontarget.size)
        + spoof_weight * (1 - np.searchsorted(spoof, thresholds) / spoof.size)
    )
    return float(cost.min() / min(miss_weight, nontarget_weight + spoof_weight))


@dataclass(frozen=True)
class TandemEqualErrorRate:
    """The concurrent tandem equal error rate and the two thresholds at which it is found."""

    eer: float
    cm_threshold: float
    asv_threshold: float


def tandem_equal_error_rate(
    bonafide: BonafideScores,
    spoof: SpoofScores,
    target: Float[np.ndarray, "target"],
    nontarget: Float[np.ndarray, "nontarget"],
    asv_spoof: Float[np.ndarray, "asv_spoof"],
) -> TandemEqualErrorRate:
    """Concurrent t-EER: the point at which the tandem's miss, non-target and spoof false-alarm rates are equal.

    A tandem accepts a trial if both countermeasure and ASV accept it; their errors are assumed to be independent.
    Kinnunen et al., "t-EER: parameter-free tandem evaluation of countermeasures and biometric comparators", IEEE TPAMI
    2023. For every ASV threshold, the countermeasure's threshold is chosen so that the miss rate is nearest to the mean
    of the two false-alarm rates (a spoof prior of one half). Of these pairs, the one whose three rates are closest
    together is used, and the mean of its rates is the result. (If the ASV rejects spoofs better than non-targets, there
    may be no point of equality; the result is then that of the nearest pair.)

    Args:
        bonafide: Countermeasure scores of bona fide trials.
        spoof: Countermeasure scores of spoofs.
        target: ASV scores of target trials.
        nontarget: ASV scores of non-target trials.
        asv_spoof: ASV scores of spoofs.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    return _tandem_equal_error_rate(det_points(bonafide, spoof), target, nontarget, asv_spoof)


def tandem_equal_error_rate_of(
    cm: ErrorCurve,
    target: Float[np.ndarray, "target"],
    nontarget: Float[np.ndarray, "nontarget"],
    asv_spoof: Float[np.ndarray, "asv_spoof"],
) -> PerResample:
    """Rates; see `tandem_equal_error_rate`. The trials of the ASV are held fixed."""
    rates = np.empty(cm.missed.shape[:-1])
    for resample in np.ndindex(rates.shape):
        one = ErrorCurve(cm.thresholds, cm.missed[resample], cm.accepted[resample])
        rates[resample] = _tandem_equal_error_rate(one, target, nontarget, asv_spoof).eer
    return rates


def _tandem_equal_error_rate(
    cm: ErrorCurve, target: np.ndarray, nontarget: np.ndarray, asv_spoof: np.ndarray
) -> TandemEqualErrorRate:
    """Rate and thresholds from one curve without a resample axis."""
    asv = det_points(checked(target, "target"), checked(nontarget, "non-target"))
    spoofs = np.sort(checked(asv_spoof, "ASV spoof"))
    asv_spoof_accepted = (spoofs.size - np.searchsorted(spoofs, asv.thresholds)) / spoofs.size
    # A countermeasure only adds misses, so ASV thresholds that miss more than they falsely accept are excluded.
    usable = asv.miss <= (asv.false_alarm + asv_spoof_accepted) / 2
    asv_thresholds, asv_spoof_accepted = asv.thresholds[usable], asv_spoof_accepted[usable]
    asv_miss, asv_false_alarm = asv.miss[usable], asv.false_alarm[usable]
    cm_passed, cm_false_alarm = 1 - cm.miss, cm.false_alarm

    def tandem_rates(point: np.ndarray) -> np.ndarray:
        """The three rates (3, ASV thresholds) with one countermeasure point for each ASV threshold."""
        passed = cm_passed[point]
        return np.stack(
            [1 - passed * (1 - asv_miss), passed * asv_false_alarm, cm_false_alarm[point] * asv_spoof_accepted]
        )

    # With the countermeasure's threshold, the miss rate increases and both false-alarm rates decrease. So the first
    # point where the miss rate is not the lower one is found by bisection, for all ASV thresholds at once.
    low = np.zeros(asv_thresholds.size, dtype=np.int64)
    high = np.full_like(low, cm.thresholds.size - 1)
    while np.any(low < high):
        middle = (low + high) // 2
        miss, nontarget_accepted, spoof_accepted = tandem_rates(middle)
        reached = miss >= (nontarget_accepted + spoof_accepted) / 2
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
    candidates = np.stack([np.maximum(low - 1, 0), low])
    rates = np.stack([tandem_rates(point) for point in candidates])
    gap = np.abs(rates[:, 0] - rates[:, 1:].mean(axis=1))
    nearer = np.argmin(gap, axis=0)
    each = np.arange(low.size)
    point, rates = candidates[nearer, each], rates[nearer, :, each]
    closest = int(np.argmin(np.ptp(rates, axis=1)))
    return TandemEqualErrorRate(
        eer=float(rates[closest].mean()),
        cm_threshold=float(cm.thresholds[point[closest]]),
        asv_threshold=float(asv_thresholds[closest]),
    )
