"""Intervals that cover, and comparisons that find a difference where there is one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from aasist_jax.metrics.bootstrap import (
    Resampling,
    Sampling,
    _draws,
    _Trials,
    bootstrap_classes,
    bootstrap_intervals,
    compare_systems,
)
from aasist_jax.metrics.calibration_loss import cllr_bits, cllr_bits_of, min_cllr_bits, min_cllr_bits_of
from aasist_jax.metrics.detection_cost import (
    DetectionCosts,
    act_dcf,
    act_dcf_of,
    cheapest_threshold_of,
    min_dcf,
    min_dcf_of,
)
from aasist_jax.metrics.error_rates import (
    area_under_curve,
    area_under_curve_of,
    convex_hull_equal_error_rate,
    convex_hull_equal_error_rate_of,
    equal_error_rate,
    equal_error_rate_of,
)
from aasist_jax.metrics.scores import ScoresError
from aasist_jax.metrics.tandem import min_a_dcf, tandem_equal_error_rate, tandem_equal_error_rate_of


def eer_of(curve):
    return equal_error_rate_of(curve)[0]


EER = {"eer": eer_of}

FORMS = {
    eer_of: lambda bonafide, spoof: equal_error_rate(bonafide, spoof).eer,
    convex_hull_equal_error_rate_of: lambda bonafide, spoof: convex_hull_equal_error_rate(bonafide, spoof).eer,
    area_under_curve_of: area_under_curve,
    min_dcf_of: min_dcf,
    act_dcf_of: act_dcf,
    cllr_bits_of: cllr_bits,
    min_cllr_bits_of: min_cllr_bits,
}


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_a_resample_scores_as_the_drawn_trials_written_out(seed, n_bonafide, n_spoof, tied):
    random = np.random.default_rng(seed)
    bonafide, spoof = random.normal(1, 1, n_bonafide), random.normal(0, 1, n_spoof)
    if tied:
        bonafide, spoof = bonafide.round(), spoof.round()
    sampling = Sampling(spoof_attacks=random.integers(0, 3, n_spoof))
    bonafide_counts, spoof_counts = next(_draws(n_bonafide, n_spoof, sampling, Resampling(4, seed=seed)))
    curve = _Trials.of(bonafide, spoof).curve(bonafide_counts, spoof_counts)
    for of_curve, of_scores in FORMS.items():
        written_out = [
            of_scores(np.repeat(bonafide, counts_b), np.repeat(spoof, counts_s))
            for counts_b, counts_s in zip(bonafide_counts, spoof_counts, strict=True)
        ]
        np.testing.assert_allclose(of_curve(curve), written_out, rtol=1e-9, atol=1e-12)


def coverage(draws, n_bonafide, n_spoof, resamples):
    true_eer = norm.cdf(-1.2)
    random = np.random.default_rng(1)
    covered = 0
    for draw in range(draws):
        bonafide, spoof = random.normal(2.4, 1, n_bonafide), random.normal(0, 1, n_spoof)
        interval = bootstrap_intervals(EER, bonafide, spoof, resampling=Resampling(resamples, seed=draw))["eer"]
        covered += interval.low <= true_eer <= interval.high
    return covered / draws


def test_95_percent_intervals_cover_the_true_eer_in_500_draws():
    assert 0.93 <= coverage(500, 200, 400, resamples=200) <= 0.97


@pytest.mark.slow
def test_95_percent_intervals_cover_with_more_trials_and_more_resamples():
    assert 0.94 <= coverage(2000, 500, 1000, resamples=1000) <= 0.96


def test_drawing_speakers_widens_the_interval_where_speakers_differ():
    random = np.random.default_rng(2)
    speaker = np.repeat(np.arange(20), 50)
    offset = random.normal(0, 1, 20)[speaker]
    bonafide, spoof = 2 + offset + random.normal(0, 0.5, 1000), offset + random.normal(0, 0.5, 1000)
    clips = bootstrap_intervals(EER, bonafide, spoof, resampling=Resampling(300))["eer"]
    speakers = bootstrap_intervals(
        EER, bonafide, spoof, sampling=Sampling(speaker, speaker), resampling=Resampling(300)
    )["eer"]
    assert speakers.high - speakers.low > 2 * (clips.high - clips.low)
    assert speakers.estimate == clips.estimate == equal_error_rate(bonafide, spoof).eer


def test_drawing_attacks_widens_the_interval_where_attacks_differ():
    random = np.random.default_rng(3)
    attack = np.repeat(np.arange(6), 200)
    bonafide, spoof = random.normal(4, 1, 500), random.normal(0, 1, 1200) + (attack == 5) * 4
    clips = bootstrap_intervals(EER, bonafide, spoof, resampling=Resampling(300))["eer"]
    attacks = bootstrap_intervals(
        EER, bonafide, spoof, sampling=Sampling(spoof_attacks=attack), resampling=Resampling(300)
    )["eer"]
    assert attacks.high - attacks.low > 2 * (clips.high - clips.low)


def test_comparison_finds_a_better_system_and_no_difference_in_a_twin():
    random = np.random.default_rng(4)
    bonafide, spoof = random.normal(2.5, 1, 400), random.normal(0, 1, 800)
    # The same evidence with more noise.
    worse = bonafide + random.normal(0, 1, 400), spoof + random.normal(0, 1, 800)
    result = compare_systems(EER, (bonafide, worse[0]), (spoof, worse[1]), resampling=Resampling(500))["eer"]
    assert result.difference.high < 0
    assert result.p_value == pytest.approx(2 / 501)
    assert result.difference.estimate == equal_error_rate(bonafide, spoof).eer - equal_error_rate(*worse).eer
    twin = compare_systems(EER, (bonafide, 2 * bonafide), (spoof, 2 * spoof), resampling=Resampling(50))["eer"]
    assert (twin.difference.low, twin.difference.high, twin.p_value) == (0, 0, 1)


def test_p_values_of_equal_systems_are_spread_evenly():
    random = np.random.default_rng(5)
    p_values = []
    for draw in range(200):
        bonafide, spoof = random.normal(2, 1, 150), random.normal(0, 1, 150)
        a, b = ([scores + random.normal(0, 0.7, 150) for scores in (bonafide, spoof)] for _ in range(2))
        result = compare_systems(
            {"auc": area_under_curve_of}, (a[0], b[0]), (a[1], b[1]), resampling=Resampling(200, seed=draw)
        )
        p_values.append(result["auc"].p_value)
    # 5 % of 200 is 10, give or take three deviations of 3.1.
    assert 1 <= np.sum(np.array(p_values) <= 0.05) <= 19


def test_an_infinite_threshold_has_an_infinite_end():
    # Spoofs above all bona fide trials, and dear ones: accepting nothing is cheapest.
    bonafide, spoof = np.array([0.0, 1.0, 2.0]), np.arange(3.0, 30.0)
    statistics = {"threshold": lambda curve: cheapest_threshold_of(curve, DetectionCosts(p_spoof=0.5))}
    interval = bootstrap_intervals(statistics, bonafide, spoof, resampling=Resampling(50))["threshold"]
    assert (interval.estimate, interval.high) == (np.inf, np.inf)


def test_t_eer_of_resamples_is_that_of_the_drawn_trials():
    random = np.random.default_rng(8)
    bonafide, spoof = random.normal(2, 1, 60), random.normal(0, 1, 90)
    asv = random.normal(2, 1, 50), random.normal(-2, 1, 70), random.normal(1, 1, 80)
    counts = next(_draws(60, 90, Sampling(), Resampling(4)))
    rates = tandem_equal_error_rate_of(_Trials.of(bonafide, spoof).curve(*counts), *asv)
    expected = [
        tandem_equal_error_rate(np.repeat(bonafide, b), np.repeat(spoof, s), *asv).eer
        for b, s in zip(*counts, strict=True)
    ]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_seeds_repeat_and_differ():
    bonafide, spoof = np.random.default_rng(0).normal(size=(2, 50))
    first, again = (bootstrap_intervals(EER, bonafide, spoof, resampling=Resampling(20, seed=7)) for _ in range(2))
    assert first == again
    assert first != bootstrap_intervals(EER, bonafide, spoof, resampling=Resampling(20, seed=8))


def test_any_function_of_any_classes_has_an_interval():
    random = np.random.default_rng(6)
    classes = random.normal(3, 1, 200), random.normal(0, 1, 200), random.normal(1, 1, 200)
    interval = bootstrap_classes(min_a_dcf, *classes, resampling=Resampling(200))
    assert interval.low < interval.estimate == min_a_dcf(*classes)
    assert interval.estimate < interval.high


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"resamples": 0}, "at least 1"),
        ({"confidence": 95.0}, "write 95 % as 0.95"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ScoresError, match=complaint):
        Resampling(**options)


def test_speakers_of_one_class_alone_are_refused():
    with pytest.raises(ScoresError, match="give both"):
        Sampling(bonafide_speakers=np.array(["a"]))
