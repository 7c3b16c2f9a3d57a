"""The verdict: labels at their borders, the words of the evidence, and reasons that leave no number."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasist_jax.detection.verdict import (
    CAUTIONS,
    NO_SPEECH,
    SCALE,
    UNCALIBRATED,
    UNLIKE,
    WINDOWS_DISAGREE,
    DecisionRule,
    judge,
    posterior,
    verbal_scale,
)
from aasist_jax.errors import ConfigError


@given(st.floats(0, 1), st.floats(0.501, 0.999))
def test_a_probability_is_told_on_its_side_of_the_border(p_synthetic: float, sure: float) -> None:
    rule = DecisionRule(sure=sure)
    told = rule.told(p_synthetic)
    assert rule.label(float(told)) == rule.label(p_synthetic)
    assert float(told) == pytest.approx(p_synthetic, abs=5.1e-4)


def test_a_probability_has_three_digits_unless_they_mislead() -> None:
    rule = DecisionRule()
    found = [rule.told(p) for p in (0.5, 0.8994, 0.8996, 0.9, 0.10004, 1 - 1e-9, math.nextafter(0.9, 0))]
    assert found == ["0.500", "0.899", "0.8996", "0.900", "0.10004", "1.000", "0.8999999999999999"]
    assert rule.told(0.896, digits=2) == "0.896"


@pytest.mark.parametrize(("prior", "sure"), [(0.5, 0.9), (0.05, 0.99), (0.5, 0.75)])
def test_a_label_needs_what_the_rule_says_and_no_more(prior: float, sure: float) -> None:
    rule = DecisionRule(prior, sure)
    assert rule.label(sure) == rule.label(1.0) == "synthetic"
    assert rule.label(math.nextafter(sure, 0)) == "unsure"
    assert rule.label(1 - sure) == rule.label(0.0) == "human"
    assert rule.label(1 - sure + 1e-15) == "unsure"
    assert rule.label(0.5) == "unsure"


@pytest.mark.parametrize("llr", [math.log(9) + 1e-12, 3.0])
def test_the_label_of_one_window_is_that_of_its_posterior(llr: float) -> None:
    human, synthetic = judge(np.array([llr]), DecisionRule()), judge(np.array([-llr]), DecisionRule())
    assert (human.label, synthetic.label) == ("human", "synthetic")
    assert human.p_synthetic == pytest.approx(1 / (1 + math.exp(llr)))
    assert synthetic.p_synthetic == pytest.approx(1 - human.p_synthetic)
    assert judge(np.array([math.log(9) - 1e-9]), DecisionRule()).label == "unsure"
    assert judge(np.array([1e-9 - math.log(9)]), DecisionRule()).label == "unsure"


def test_the_prior_moves_the_posterior_and_not_the_ratio() -> None:
    found = [judge(np.array([-2.0, -3.0]), DecisionRule(prior)) for prior in (0.001, 0.5, 0.999)]
    assert len({verdict.llr for verdict in found}) == 1
    assert [verdict.label for verdict in found] == ["human", "synthetic", "synthetic"]
    for verdict in found:
        assert verdict.llr is not None
        odds = verdict.rule.prior / (1 - verdict.rule.prior) * math.exp(-verdict.llr)
        assert verdict.p_synthetic == pytest.approx(odds / (1 + odds), rel=1e-12)


@given(st.floats(-1e6, 1e6), st.floats(0.001, 0.999))
def test_a_posterior_is_a_probability_at_any_ratio(llr: float, prior: float) -> None:
    assert 0 <= posterior(llr, DecisionRule(prior)) <= 1


@given(st.floats(-700, 700), st.floats(0.001, 0.999), st.floats(0.501, 0.999))
def test_swapping_the_sides_swaps_the_label(llr: float, prior: float, sure: float) -> None:
    """Human and synthetic are treated alike, but for the last bit at a border."""
    one, other = DecisionRule(prior, sure), DecisionRule(1 - prior, sure)
    p = posterior(llr, one)
    if min(abs(p - sure), abs(1 - p - sure)) > 1e-9:
        swapped = {"human": "synthetic", "synthetic": "human", "unsure": "unsure"}
        assert one.label(p) == swapped[other.label(posterior(-llr, other))]


def test_the_words_of_the_scale_begin_where_the_guideline_has_them() -> None:
    assert [end for end, _ in SCALE] == [2, 10, 100, 1_000, 10_000, 1_000_000, math.inf]
    for (end, words), (_, beyond) in itertools.pairwise(SCALE):
        for sign, side in ((1, "a human voice"), (-1, "a synthetic one")):
            below, at = verbal_scale(sign * math.log(end * 0.999)), verbal_scale(sign * math.log(end))
            assert below == ("no support for either" if end == 2 else f"{words} for {side}")
            assert at == f"{beyond} for {side}"
    assert verbal_scale(0.0) == "no support for either"
    assert verbal_scale(-1e6) == "extremely strong support for a synthetic one"


@pytest.mark.parametrize("reason", [UNLIKE, "clipped", "short", "damaged", "what may come"])
def test_a_reason_makes_it_unsure_and_leaves_no_number(reason: str) -> None:
    for llrs in (np.array([9.0]), np.array([-9.0, -9.0]), np.zeros(0)):
        verdict = judge(llrs, DecisionRule(), [reason, reason])
        assert (verdict.label, verdict.llr, verdict.p_synthetic, verdict.evidence) == ("unsure", None, None, "")
        assert verdict.reasons == (reason,)
        assert str(verdict) == f"unsure ({reason})"


def test_without_a_calibration_it_is_unsure_whatever_else() -> None:
    for reasons in ((), ("clipped",), (WINDOWS_DISAGREE,)):
        verdict = judge(None, DecisionRule(), reasons)
        assert (verdict.label, verdict.llr, verdict.p_synthetic) == ("unsure", None, None)
        assert verdict.reasons == (UNCALIBRATED, *reasons)


def test_nothing_heard_is_no_speech_unless_more_is_known() -> None:
    assert judge(np.zeros(0), DecisionRule()).reasons == (NO_SPEECH,)
    assert judge(np.zeros(0), DecisionRule(), ["silent"]).reasons == ("silent",)


def test_windows_that_disagree_are_told_beside_the_verdict() -> None:
    assert CAUTIONS[0] == WINDOWS_DISAGREE
    apart = judge(np.array([5.0] * 3 + [-9.0]), DecisionRule())
    assert (apart.label, apart.reasons) == ("synthetic", (WINDOWS_DISAGREE,))
    assert apart.llr is not None
    assert str(apart) == "synthetic (windows disagree)"
    # It takes both labels, and not only numbers that differ.
    assert judge(np.array([5.0, -2.0]), DecisionRule()).reasons == ()
    assert judge(np.array([5.0, 1.0]), DecisionRule()).reasons == ()
    # Said once, also where it was known before.
    assert judge(np.array([5.0, -9.0]), DecisionRule(), [WINDOWS_DISAGREE]).reasons == (WINDOWS_DISAGREE,)


def test_a_short_synthetic_part_is_not_outvoted() -> None:
    """One window of sixty that is synthetic beyond doubt; the mean of the ratios alone would say human."""
    llrs = np.array([4.0] * 59 + [-20.0])
    assert llrs.mean() > 3
    assert judge(llrs, DecisionRule()).label == "synthetic"
    # Alone, -3 would be synthetic. Of sixty windows one may have it by chance.
    assert judge(np.array([-3.0]), DecisionRule()).label == "synthetic"
    assert judge(np.array([4.0] * 59 + [-3.0]), DecisionRule()).label == "unsure"
    assert judge(np.array([4.0] * 59 + [-2.2]), DecisionRule()).label == "human"


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_a_prior_that_is_none_is_refused(prior: float) -> None:
    with pytest.raises(ConfigError, match=r"^prior: the probability of synthetic speech must lie between 0 and 1, not"):
        DecisionRule(prior)


@pytest.mark.parametrize("sure", [0.5, 1.0, 0.3, -1.0, 90.0, math.nan])
def test_a_certainty_that_is_none_is_refused(sure: float) -> None:
    with pytest.raises(ConfigError, match=r"^sure: expected a probability above 0.5 and below 1, got "):
        DecisionRule(sure=sure)
