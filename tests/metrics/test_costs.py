"""Detection costs, tandem costs and calibration losses against their definitions, written out plainly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.optimize import isotonic_regression

from aasist_jax.metrics.calibration_loss import cllr_bits, min_cllr_bits
from aasist_jax.metrics.detection_cost import DetectionCosts, act_dcf, cheapest_threshold, expected_cost, min_dcf
from aasist_jax.metrics.error_rates import error_rates_at
from aasist_jax.metrics.scores import ScoresError
from aasist_jax.metrics.tandem import (
    AsvErrorRates,
    SpoofAwareCosts,
    TandemCosts,
    asv_error_rates,
    min_a_dcf,
    min_tdcf_2019,
    min_tdcf_2021,
    tandem_equal_error_rate,
)

TIED = npst.arrays(np.float64, st.integers(1, 25), elements=st.integers(-6, 6).map(float))
SCORES = TIED | npst.arrays(np.float64, st.integers(1, 25), elements=st.floats(-50, 50))
ASV = AsvErrorRates(eer=0.03, threshold=0.0, p_fa=0.03, p_miss=0.03, p_miss_spoof=0.3)


def candidates(*classes):
    return [*np.unique(np.concatenate(classes)), math.inf]


@given(SCORES, SCORES, st.floats(0.01, 0.99), st.floats(0.1, 20), st.floats(0.1, 20))
def test_the_least_cost_is_the_least_over_all_thresholds(bonafide, spoof, p_spoof, miss, false_alarm):
    costs = DetectionCosts(p_spoof, miss, false_alarm)
    everywhere = [expected_cost(bonafide, spoof, threshold, costs) for threshold in candidates(bonafide, spoof)]
    assert min_dcf(bonafide, spoof, costs) == pytest.approx(min(everywhere) / costs.uninformed, rel=1e-12, abs=1e-15)
    at_best = expected_cost(bonafide, spoof, cheapest_threshold(bonafide, spoof, costs), costs)
    assert at_best == pytest.approx(min(everywhere), rel=1e-12, abs=1e-15)
    assert 0 <= min_dcf(bonafide, spoof, costs) <= 1
    assert min_dcf(bonafide, spoof, costs) <= act_dcf(bonafide, spoof, costs) + 1e-12


def test_the_bayes_threshold_of_asvspoof5():
    assert DetectionCosts().bayes_threshold == pytest.approx(-math.log(0.95 / 0.5), rel=1e-15)
    # A miss above the threshold, and a false alarm at it.
    threshold = DetectionCosts().bayes_threshold
    assert act_dcf(np.array([threshold, 9.0]), np.array([-9.0, threshold])) == pytest.approx(0.5 * 0.5 / 0.5)


@given(SCORES, SCORES)
def test_cllr_is_its_formula_and_never_below_its_least(bonafide, spoof):
    plain = (
        np.mean([math.log2(1 + math.exp(-score)) for score in bonafide])
        + np.mean([math.log2(1 + math.exp(score)) for score in spoof])
    ) / 2
    assert cllr_bits(bonafide, spoof) == pytest.approx(plain, rel=1e-12, abs=1e-12)
    assert 0 <= min_cllr_bits(bonafide, spoof) <= 1
    assert min_cllr_bits(bonafide, spoof) <= cllr_bits(bonafide, spoof) + 1e-12


@given(SCORES, SCORES)
def test_min_cllr_is_cllr_after_pooling_adjacent_violators(bonafide, spoof):
    scores = np.concatenate([bonafide, spoof])
    label = np.concatenate([np.ones(bonafide.size), np.zeros(spoof.size)])
    # The mean label of each score, so that ties share one value.
    _, group = np.unique(scores, return_inverse=True)
    trials = np.bincount(group)
    posterior = isotonic_regression(np.bincount(group, weights=label) / trials, weights=trials).x[group]
    odds = np.clip(posterior, 1e-300, None) / np.clip(1 - posterior, 1e-300, None) * spoof.size / bonafide.size
    bonafide_bits = np.mean(np.log2(1 + 1 / odds[: bonafide.size]))
    spoof_bits = np.mean(np.log2(1 + odds[bonafide.size :]))
    assert min_cllr_bits(bonafide, spoof) == pytest.approx((bonafide_bits + spoof_bits) / 2, rel=1e-9, abs=1e-9)


def test_cllr_of_no_information_and_of_extreme_scores():
    assert cllr_bits(np.zeros(3), np.zeros(5)) == 1
    assert cllr_bits(np.array([1e6]), np.array([-1e6])) == 0
    assert cllr_bits(np.array([-1e6]), np.array([-1e6])) == pytest.approx(1e6 / math.log(2) / 2)


@given(SCORES, SCORES)
def test_tandem_costs_are_least_over_all_thresholds(bonafide, spoof):
    if len(candidates(bonafide, spoof)) < 4:
        return
    rates = [error_rates_at(bonafide, spoof, threshold) for threshold in candidates(bonafide, spoof)]
    c1, c2 = 0.9405 * (1 - 0.03) - 0.0095 * 10 * 0.03, 10 * 0.05 * 0.7
    expected = min(c1 * miss + c2 * false_alarm for miss, false_alarm in rates) / min(c1, c2)
    assert min_tdcf_2019(bonafide, spoof, ASV) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    c0 = 0.9405 * 0.03 + 0.0095 * 10 * 0.03
    c1 = 0.9405 - c0
    expected = min(c0 + c1 * miss + c2 * false_alarm for miss, false_alarm in rates) / (c0 + min(c1, c2))
    assert min_tdcf_2021(bonafide, spoof, ASV) == pytest.approx(expected, rel=1e-12)


def test_the_asv_is_held_at_its_equal_error_rate():
    asv = asv_error_rates(np.array([0.0, 2, 3, 4]), np.array([-1.0, -2, 1, -3]), np.array([0.5, 1.0, 9]))
    assert (asv.eer, asv.threshold) == (0.25, 0.0)
    # At the threshold itself a trial is accepted.
    assert (asv.p_miss, asv.p_fa, asv.p_miss_spoof) == (0.0, 0.25, 0.0)


@pytest.mark.parametrize("metric", [min_tdcf_2019, min_tdcf_2021])
def test_tandem_costs_refuse_decisions_and_hopeless_verification(metric):
    with pytest.raises(ScoresError, match="only 2 different scores"):
        metric(np.array([1.0, 1.0]), np.array([0.0, 1.0]), ASV)
    with pytest.raises(ScoresError, match="both must be positive"):
        metric(np.arange(5.0), np.arange(5.0), AsvErrorRates(0.5, 0.0, 0.5, 0.5, p_miss_spoof=1.0))


@given(TIED, TIED, TIED)
def test_a_dcf_is_least_over_all_thresholds(target, nontarget, spoof):
    def cost(threshold):
        return (
            0.9405 * np.mean(target < threshold)
            + 10 * 0.0095 * np.mean(nontarget >= threshold)
            + 10 * 0.05 * np.mean(spoof >= threshold)
        )

    expected = min(cost(threshold) for threshold in candidates(target, nontarget, spoof)) / (0.095 + 0.5)
    assert min_a_dcf(target, nontarget, spoof) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(TIED, TIED, TIED, TIED, TIED)
def test_t_eer_is_on_the_path_the_paper_names(bonafide, spoof, target, nontarget, asv_spoof):
    """Every pair of thresholds, tried one by one."""
    options, bound = [], math.inf
    for asv_threshold in candidates(target, nontarget):
        miss, false_alarm = error_rates_at(target, nontarget, asv_threshold)
        let_through = np.mean(asv_spoof >= asv_threshold)
        if miss > (false_alarm + let_through) / 2:
            continue
        path = []
        for cm_threshold in candidates(bonafide, spoof):
            cm_miss, cm_false_alarm = error_rates_at(bonafide, spoof, cm_threshold)
            rates = (cm_miss + (1 - cm_miss) * miss, (1 - cm_miss) * false_alarm, cm_false_alarm * let_through)
            path.append((abs(rates[0] - (rates[1] + rates[2]) / 2), max(rates) - min(rates), sum(rates) / 3))
        nearest = min(gap for gap, _, _ in path)
        # Two steps may be equally near; either is on the path.
        equally_near = [(spread, rate) for gap, spread, rate in path if gap <= nearest + 1e-12]
        options += equally_near
        bound = min(bound, max(spread for spread, _ in equally_near))
    found = tandem_equal_error_rate(bonafide, spoof, target, nontarget, asv_spoof).eer
    assert any(abs(found - rate) < 1e-9 and spread <= bound + 1e-9 for spread, rate in options)


def test_t_eer_of_known_gaussians():
    random = np.random.default_rng(3)
    n = 40_000
    # An ASV that cannot tell spoofs from targets, beside a perfect countermeasure: the ASV's own EER is left,
    # the normal distribution's tail beyond one deviation.
    target, nontarget = random.normal(2, 1, n), random.normal(0, 1, n)
    perfect = tandem_equal_error_rate(
        np.linspace(5, 6, n), np.linspace(-6, -5, n), target, nontarget, random.normal(2, 1, n)
    )
    assert perfect.eer == pytest.approx(0.158655, abs=3e-3)
    assert perfect.asv_threshold == pytest.approx(1, abs=0.03)
    assert -6 < perfect.cm_threshold < -5


@pytest.mark.parametrize(
    "make",
    [
        lambda: DetectionCosts(p_spoof=0.0),
        lambda: DetectionCosts(miss=-1.0),
        lambda: TandemCosts(p_spoof=0.5),
        lambda: TandemCosts(asv_miss=-1.0),
        lambda: SpoofAwareCosts(p_target=2.0),
    ],
)
def test_impossible_priors_and_costs_are_refused(make):
    with pytest.raises(ScoresError):
        make()
