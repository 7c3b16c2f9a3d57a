"""Error rates of a detector whose higher scores mean bona fide.

A trial is accepted as bona fide if its score is at or above the threshold. A miss is a bona fide trial that is
rejected, a false alarm is a spoof that is accepted. Functions whose names end in `_of` take the error counts of one set
of trials or of many resamples of it at once.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from aasist_jax.metrics.scores import BonafideScores, ScoresError, SpoofScores, checked

PerResample = Float[np.ndarray, "*resamples"] | float
"""One number per resample, or a single number for a curve without a resample axis."""


@dataclass(frozen=True)
class EqualErrorRate:
    """The error rate at which miss rate and false-alarm rate are equal.

    Attributes:
        eer: The rate, from 0 to 1.
        threshold: The threshold that gives it.
    """

    eer: float
    threshold: float


@dataclass(frozen=True)
class ErrorCurve:
    """The number of misses and false alarms at every distinct threshold; all two-class metrics use it.

    Attributes:
        thresholds: The distinct scores, rising, then infinity.
        missed: Bona fide trials below the threshold; the last point counts them all.
        accepted: Spoofs at or above the threshold; the first point counts them all.
    """

    thresholds: Float[np.ndarray, "points"]
    missed: Int[np.ndarray, "*resamples points"]
    accepted: Int[np.ndarray, "*resamples points"]

    @property
    def miss(self) -> Float[np.ndarray, "*resamples points"]:
        """Miss rate, from 0 to 1, rising."""
        return self.missed / self.missed[..., -1:]

    @property
    def false_alarm(self) -> Float[np.ndarray, "*resamples points"]:
        """False-alarm rate, from 1 to 0, falling."""
        return self.accepted / self.accepted[..., :1]


def det_points(bonafide: BonafideScores, spoof: SpoofScores) -> ErrorCurve:
    """All operating points: one per distinct score, and one that accepts nothing.

    The detection error trade-off curve is these points on normal-deviate axes (Martin et al., "The DET
    curve in assessment of detection task performance", Eurospeech 1997).

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    bonafide, spoof = np.sort(checked(bonafide, "bona fide")), np.sort(checked(spoof, "spoof"))
    thresholds = distinct_thresholds(bonafide, spoof)
    missed = np.searchsorted(bonafide, thresholds)
    accepted = spoof.size - np.searchsorted(spoof, thresholds)
    return ErrorCurve(thresholds, missed, accepted)


def distinct_thresholds(bonafide: BonafideScores, spoof: SpoofScores) -> Float[np.ndarray, "points"]:
    """The distinct scores of two classes, rising, then infinity."""
    # A stable sort merges two sorted halves in linear time.
    scores = np.sort(np.concatenate([bonafide, spoof]), kind="stable")
    first_of_its_kind = np.concatenate([[True], scores[1:] != scores[:-1]])
    return np.append(scores[first_of_its_kind], np.inf)


def equal_error_rate(bonafide: BonafideScores, spoof: SpoofScores) -> EqualErrorRate:
    """Equal error rate by the rule of the ASVspoof challenges (evaluation plan of ASVspoof 2019).

    The trials are rejected one by one in the order of their scores, bona fide first for equal scores. The rate is the
    mean of miss and false-alarm rate at the first step where the two are nearest. The threshold is the score rejected
    last, or 0.001 below the lowest score if the rates are nearest before the first step.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    eer, threshold = equal_error_rate_of(det_points(bonafide, spoof))
    return EqualErrorRate(float(eer), float(threshold))


def equal_error_rate_of(curve: ErrorCurve) -> tuple[PerResample, PerResample]:
    """Rates and thresholds by the challenges' rule; see `equal_error_rate`."""
    bonafide, spoof = curve.missed[..., -1], curve.accepted[..., 0]
    # The difference of the rates increases with every rejected trial, so the only candidates are the two steps
    # around its change of sign. Both are among the trials of one score: `tied`.
    below = curve.missed * spoof[..., None] < curve.accepted * bonafide[..., None]
    tied = np.sum(below, axis=-1) - 1
    missed_before, missed_after = _take(curve.missed, tied), _take(curve.missed, tied + 1)
    accepted_before = _take(curve.accepted, tied)
    # The difference of the rates, times bonafide * spoof, before each class of the tied trials is rejected.
    gap_before = accepted_before * bonafide - missed_before * spoof
    gap_between = accepted_before * bonafide - missed_after * spoof
    among_bonafide = gap_between <= 0
    later_missed = np.where(among_bonafide, missed_before - (-gap_before // spoof), missed_after)
    later_accepted = accepted_before - np.where(among_bonafide, 0, -(-gap_between // bonafide))
    earlier_missed = later_missed - among_bonafide
    earlier_accepted = later_accepted + ~among_bonafide
    earlier_miss, earlier_false_alarm = earlier_missed / bonafide, earlier_accepted / spoof
    later_miss, later_false_alarm = later_missed / bonafide, later_accepted / spoof
    earlier = np.abs(earlier_miss - earlier_false_alarm) <= np.abs(later_miss - later_false_alarm)
    eer = np.where(earlier, (earlier_miss + earlier_false_alarm) / 2, (later_miss + later_false_alarm) / 2)
    untouched = earlier & (earlier_missed == missed_before) & (earlier_accepted == accepted_before)
    last_rejected = np.concatenate([[curve.thresholds[0] - 0.001], curve.thresholds[:-1]])
    return eer, last_rejected[tied + 1 - untouched]


def roc_convex_hull(bonafide: BonafideScores, spoof: SpoofScores) -> ErrorCurve:
    """Vertices of the lower convex hull of the operating points, by pooling adjacent violators.

    The optimal monotone calibration assigns one likelihood ratio to all trials between two vertices (Fawcett and
    Niculescu-Mizil, "PAV and the ROC convex hull", Machine Learning 68, 2007).

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    return roc_convex_hull_of(det_points(bonafide, spoof))


def roc_convex_hull_of(curve: ErrorCurve) -> ErrorCurve:
    """Hull of one curve without a resample axis; see `roc_convex_hull`."""
    # Imported here because the import is slow and many commands do not need it.
    from scipy.optimize import isotonic_regression

    bonafide_there, spoof_there = np.diff(curve.missed), -np.diff(curve.accepted)
    # Leave out scores that a resample did not draw.
    drawn = np.flatnonzero(bonafide_there + spoof_there)
    trials_there = (bonafide_there + spoof_there)[drawn]
    pooled = isotonic_regression(bonafide_there[drawn] / trials_there, weights=trials_there)
    vertices = np.append(drawn, curve.thresholds.size - 1)[pooled.blocks]
    return ErrorCurve(curve.thresholds[vertices], curve.missed[vertices], curve.accepted[vertices])


def convex_hull_equal_error_rate(bonafide: BonafideScores, spoof: SpoofScores) -> EqualErrorRate:
    """Equal error rate on the convex hull of the ROC: where the hull crosses miss = false alarm.

    It is the largest error rate over all priors after optimal monotone calibration of these scores, so at most one half
    (Brümmer and de Villiers, "The BOSARIS toolkit user guide", 2011). The threshold is interpolated between the two
    vertices of the crossing.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    hull = roc_convex_hull(bonafide, spoof)
    gap = hull.miss - hull.false_alarm
    thresholds = np.minimum(hull.thresholds, max(np.max(bonafide), np.max(spoof)))
    return EqualErrorRate(float(np.interp(0, gap, hull.miss)), float(np.interp(0, gap, thresholds)))


def convex_hull_equal_error_rate_of(curve: ErrorCurve) -> PerResample:
    """Rates on the convex hull; see `convex_hull_equal_error_rate`."""
    rates = np.empty(curve.missed.shape[:-1])
    for resample in np.ndindex(rates.shape):
        hull = roc_convex_hull_of(ErrorCurve(curve.thresholds, curve.missed[resample], curve.accepted[resample]))
        rates[resample] = np.interp(0.0, hull.miss - hull.false_alarm, hull.miss)
    return rates


def area_under_curve(bonafide: BonafideScores, spoof: SpoofScores) -> float:
    """Area under the ROC: the probability that a bona fide trial scores higher than a spoof; ties count half.

    Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the
    other", Annals of Mathematical Statistics 18, 1947.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    return float(area_under_curve_of(det_points(bonafide, spoof)))


def area_under_curve_of(curve: ErrorCurve) -> PerResample:
    """Areas, from 0 to 1; see `area_under_curve`."""
    return np.trapezoid(curve.miss - 1, curve.false_alarm, axis=-1)


def error_rates_at(bonafide: BonafideScores, spoof: SpoofScores, threshold: float) -> tuple[float, float]:
    """Miss and false-alarm rate if every score at or above the threshold is accepted.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    bonafide, spoof = checked(bonafide, "bona fide"), checked(spoof, "spoof")
    return float(np.mean(bonafide < threshold)), float(np.mean(spoof >= threshold))


def threshold_for_miss_rate(bonafide: BonafideScores, rate: float) -> float:
    """The highest threshold whose miss rate is at most `rate`; infinite if `rate` is 1.

    Raises:
        ScoresError: `rate` is not from 0 to 1, there are no scores, or one is NaN or infinite.
    """
    bonafide = np.sort(checked(bonafide, "bona fide"))
    allowed = _allowed_errors(rate, bonafide.size)
    return float(bonafide[allowed]) if allowed < bonafide.size else float("inf")


def threshold_for_false_alarm_rate(spoof: SpoofScores, rate: float) -> float:
    """The lowest threshold whose false-alarm rate is at most `rate`; minus infinity if `rate` is 1.

    Raises:
        ScoresError: `rate` is not from 0 to 1, there are no scores, or one is NaN or infinite.
    """
    spoof = np.sort(checked(spoof, "spoof"))
    allowed = _allowed_errors(rate, spoof.size)
    if allowed == spoof.size:
        return float("-inf")
    return float(np.nextafter(spoof[spoof.size - 1 - allowed], np.inf))


def _take(counts: np.ndarray, point: np.ndarray | np.integer) -> np.ndarray | np.integer:
    """The count at one point of every resample."""
    return np.take_along_axis(counts, np.asarray(point)[..., None], axis=-1)[..., 0]


def _allowed_errors(rate: float, trials: int) -> int:
    """The largest number of errors whose rate is at most `rate`, unaffected by rounding in `rate * trials`."""
    if not 0 <= rate <= 1:
        raise ScoresError(f"the error rate {rate} is not from 0 to 1; write 1 % as 0.01")
    count = round(rate * trials)
    return count if count / trials <= rate else count - 1
