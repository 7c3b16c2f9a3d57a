"""Error rates against the challenge's rule spelled out, scikit-learn, and what must hold for any scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import det_curve, roc_auc_score

from aasist_jax.metrics.calibration_loss import min_cllr_bits
from aasist_jax.metrics.detection_cost import min_dcf
from aasist_jax.metrics.error_rates import (
    area_under_curve,
    convex_hull_equal_error_rate,
    det_points,
    equal_error_rate,
    error_rates_at,
    roc_convex_hull,
    threshold_for_false_alarm_rate,
    threshold_for_miss_rate,
)
from aasist_jax.metrics.scores import ScoresError

TIED = npst.arrays(np.float64, st.integers(1, 40), elements=st.integers(-6, 6).map(float))
SPREAD = npst.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e3, 1e3))
SCORES = TIED | SPREAD


def challenge_rule(bonafide, spoof):
    """The rule of the challenges trial by trial: the slow, plain way."""
    steps = sorted([(score, 0) for score in bonafide] + [(score, 1) for score in spoof])
    missed, accepted = 0, len(spoof)
    rates = [(missed / len(bonafide), accepted / len(spoof), steps[0][0] - 0.001)]
    for score, is_spoof in steps:
        missed, accepted = missed + (not is_spoof), accepted - is_spoof
        rates.append((missed / len(bonafide), accepted / len(spoof), score))
    miss, false_alarm, threshold = min(rates, key=lambda rate: abs(rate[0] - rate[1]))
    return (miss + false_alarm) / 2, threshold


@given(SCORES, SCORES)
def test_the_equal_error_rate_follows_the_challenge_rule_step_by_step(bonafide, spoof):
    found = equal_error_rate(bonafide, spoof)
    assert (found.eer, found.threshold) == challenge_rule(bonafide, spoof)


@given(SCORES, SCORES)
def test_det_points_are_those_of_scikit_learn(bonafide, spoof):
    labels = np.concatenate([np.ones(bonafide.size), np.zeros(spoof.size)])
    scores = np.concatenate([bonafide, spoof])
    curve = det_points(bonafide, spoof)
    false_alarm, miss, thresholds = det_curve(labels, scores)
    # scikit-learn leaves out points before the first miss and after the last false alarm.
    ours = {(t, m, f) for t, m, f in zip(curve.thresholds, curve.miss, curve.false_alarm, strict=True)}
    assert {point for point in zip(thresholds, miss, false_alarm, strict=True) if np.isfinite(point[0])} <= ours
    assert (curve.miss[0], curve.false_alarm[0]) == (0, 1)
    assert (curve.miss[-1], curve.false_alarm[-1]) == (1, 0)


@given(SCORES, SCORES)
def test_the_area_is_that_of_scikit_learn(bonafide, spoof):
    labels = np.concatenate([np.ones(bonafide.size), np.zeros(spoof.size)])
    expected = roc_auc_score(labels, np.concatenate([bonafide, spoof]))
    np.testing.assert_allclose(area_under_curve(bonafide, spoof), expected, rtol=1e-12, atol=1e-12)


@given(TIED, TIED)
def test_rising_transforms_leave_rates_and_least_costs_alone(bonafide, spoof):
    def transform(scores):
        return np.exp(scores / 3) + 5

    assert equal_error_rate(transform(bonafide), transform(spoof)).eer == equal_error_rate(bonafide, spoof).eer
    for metric in (min_dcf, min_cllr_bits, area_under_curve):
        assert metric(transform(bonafide), transform(spoof)) == metric(bonafide, spoof)


@given(SCORES, SCORES)
def test_swapping_the_classes_mirrors(bonafide, spoof):
    hull, mirrored_hull = (convex_hull_equal_error_rate(*pair).eer for pair in ((bonafide, spoof), (-spoof, -bonafide)))
    np.testing.assert_allclose(hull, mirrored_hull, rtol=1e-12, atol=1e-12)
    # The challenge's rule takes the first of two equally near steps, in whichever direction it walks.
    eer, mirrored = equal_error_rate(bonafide, spoof).eer, equal_error_rate(-spoof, -bonafide).eer
    assert abs(eer - mirrored) <= 0.5 / min(bonafide.size, spoof.size) + 1e-12
    np.testing.assert_allclose(
        area_under_curve(spoof, bonafide), 1 - area_under_curve(bonafide, spoof), rtol=1e-12, atol=1e-12
    )


@given(SCORES, SCORES)
def test_the_hull_lies_below_every_operating_point_and_bends_one_way(bonafide, spoof):
    curve, hull = det_points(bonafide, spoof), roc_convex_hull(bonafide, spoof)
    below = np.interp(curve.miss, hull.miss, hull.false_alarm)
    # Where the hull falls straight down, interpolation may give either end; only points inside are compared.
    inside = (curve.miss > 0) & (curve.miss < 1)
    assert np.all(below[inside] <= curve.false_alarm[inside] + 1e-12)
    turns = (
        np.diff(hull.missed)[:-1] * -np.diff(hull.accepted)[1:]
        - np.diff(hull.missed)[1:] * -np.diff(hull.accepted)[:-1]
    )
    assert np.all(turns <= 0)
    assert convex_hull_equal_error_rate(bonafide, spoof).eer <= 0.5


@given(SCORES, SCORES, st.floats(0, 1))
def test_thresholds_keep_to_the_rate_and_are_the_furthest_that_do(bonafide, spoof, rate):
    at_miss = threshold_for_miss_rate(bonafide, rate)
    assert error_rates_at(bonafide, spoof, at_miss)[0] <= rate
    if at_miss < np.inf:
        assert error_rates_at(bonafide, spoof, np.nextafter(at_miss, np.inf))[0] > rate
    at_false_alarm = threshold_for_false_alarm_rate(spoof, rate)
    assert error_rates_at(bonafide, spoof, at_false_alarm)[1] <= rate
    if at_false_alarm > -np.inf:
        assert error_rates_at(bonafide, spoof, np.nextafter(at_false_alarm, -np.inf))[1] > rate


@pytest.mark.parametrize(
    ("bonafide", "spoof", "eer"),
    [([1.0], [0.0], 0.0), ([0.0], [1.0], 1.0), ([0.0], [0.0], 1.0), ([3.0, 2.0], [1.0, 0.0], 0.0)],
)
def test_single_trials_ties_and_perfect_separation(bonafide, spoof, eer):
    assert equal_error_rate(np.array(bonafide), np.array(spoof)).eer == eer


@pytest.mark.parametrize("metric", [equal_error_rate, min_dcf, area_under_curve, convex_hull_equal_error_rate])
@pytest.mark.parametrize(
    ("bonafide", "spoof", "complaint"),
    [
        ([], [1.0], "no bona fide scores"),
        ([1.0], [], "no spoof scores"),
        ([1.0, np.nan], [1.0], "bona fide score number 1 is nan"),
        ([1.0], [-np.inf], "spoof score number 0 is -inf"),
    ],
)
def test_unusable_scores_are_named(metric, bonafide, spoof, complaint):
    with pytest.raises(ScoresError, match=complaint):
        metric(np.array(bonafide), np.array(spoof))


def test_a_rate_outside_zero_to_one_is_refused():
    with pytest.raises(ScoresError, match="write 1 % as"):
        threshold_for_miss_rate(np.array([1.0]), 5.0)


def test_a_million_trials_of_known_gaussians():
    random = np.random.default_rng(0)
    bonafide, spoof = random.normal(2, 1, 300_000), random.normal(0, 1, 700_000)
    # The densities cross at 1: the normal distribution's tail beyond one deviation, and that of two over root two.
    assert abs(equal_error_rate(bonafide, spoof).eer - 0.158655) < 1.5e-3
    assert abs(equal_error_rate(bonafide, spoof).threshold - 1) < 1e-2
    assert abs(area_under_curve(bonafide, spoof) - 0.921350) < 1e-3
