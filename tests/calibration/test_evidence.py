"""The evidence of a recording: rising in every window, never contradicted by one, and safe however long it is."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from aasist_jax.calibration.evidence import recording_llr, window_posteriors
from aasist_jax.detection.verdict import DecisionRule, Label, judge, posterior
from tests.properties import holds_for

ratios = st.one_of(st.floats(-12, 12), st.floats(-2000, 2000))
recordings = st.lists(ratios, min_size=1, max_size=40).map(np.array)
rules = st.builds(DecisionRule, st.floats(0.001, 0.999), st.floats(0.501, 0.999))
TOWARDS_SYNTHETIC: tuple[Label, ...] = ("human", "unsure", "synthetic")


@holds_for(recordings, st.data(), st.floats(0, 100), rules)
def test_the_ratio_of_a_recording_rises_with_that_of_every_window(
    llrs: np.ndarray, data: Any, rise: float, rule: DecisionRule
) -> None:
    raised = llrs.copy()
    raised[data.draw(st.integers(0, llrs.size - 1))] += rise
    before, after = recording_llr(llrs), recording_llr(raised)
    assert after >= before - 1e-12 * max(1, abs(before))
    if after >= before:
        labels = [judge(each, rule).label for each in (raised, llrs)]
        assert TOWARDS_SYNTHETIC.index(labels[0]) <= TOWARDS_SYNTHETIC.index(labels[1])


@holds_for(recordings)
def test_a_ratio_lies_between_those_of_the_windows(llrs: np.ndarray) -> None:
    found = recording_llr(llrs)
    assert llrs.min() - 1e-9 <= found <= llrs.mean() + math.log(2) + 1e-9
    # By far the most probable way counts for at least its half.
    assert found <= min(llrs.min() + math.log(2 * llrs.size), llrs.mean() + math.log(2)) + 1e-9


@holds_for(recordings, recordings, rules)
def test_no_window_is_more_probably_synthetic_than_its_recording(
    heard: np.ndarray, others: np.ndarray, rule: DecisionRule
) -> None:
    whole = posterior(recording_llr(heard), rule)
    # The windows of the verdict, and any others, such as those of a finer hop.
    for windows in (heard, others):
        found = window_posteriors(windows, heard, rule.prior)
        assert found.shape == windows.shape
        assert (found >= 0).all()
        assert (found <= whole * (1 + 1e-9)).all()
        # And one is as probably synthetic.
        assert found.max() == pytest.approx(whole, rel=1e-9, abs=1e-300)
        # The lower the ratio, the more probably synthetic.
        order = np.argsort(windows, kind="stable")
        assert (np.diff(found[order]) <= 1e-12).all()


@holds_for(st.lists(st.floats(0, 12), min_size=1, max_size=40), st.floats(-60, -30))
def test_the_lowest_window_stands_for_the_part_that_is_synthetic(others: list[float], low: float) -> None:
    """Where one window outweighs the others, it is as probably synthetic as the recording."""
    heard = np.array([*others, low])
    found = window_posteriors(heard, heard, 0.5)
    assert found[-1] == pytest.approx(posterior(recording_llr(heard), DecisionRule()), rel=1e-6)


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("llr", [-30.0, -2.0, 0.0, 0.5, 7.0])
def test_of_one_window_all_agrees_with_bayes(llr: float, prior: float) -> None:
    odds = prior / (1 - prior) * math.exp(-llr)
    heard = np.array([llr])
    assert recording_llr(heard) == pytest.approx(llr, abs=1e-12)
    assert posterior(recording_llr(heard), DecisionRule(prior)) == pytest.approx(odds / (1 + odds), rel=1e-12)
    assert window_posteriors(heard, heard, prior) == pytest.approx([odds / (1 + odds)], rel=1e-12)


def test_windows_that_agree_are_as_one() -> None:
    for count in (1, 2, 7, 900):
        assert recording_llr(np.full(count, -1.5)) == pytest.approx(-1.5, abs=1e-12)


def test_by_hand() -> None:
    llrs = np.array([math.log(4), -math.log(9)])
    # Wholly: the root of 9/4, 1.5. In part: the mean of 1/4 and 9, 4.625.
    assert recording_llr(llrs) == pytest.approx(-math.log((1.5 + 4.625) / 2), rel=1e-12)
    # The human window is the second of two: 2/2 of its 1/4, at odds of 1/8 to 1; the other one has all of the part.
    total = 1 + 1.5 / 2 + 4.625 / 2
    share = (0.125 / 1.125) / (2.3125 / 3.3125)
    expected = [(0.75 + 2.3125 * share) / total, (0.75 + 2.3125) / total]
    assert window_posteriors(llrs, llrs, 0.5) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_a_synthetic_part_is_found_although_its_windows_differ(spread: float) -> None:
    """Twelve windows of twenty-four, far below what a label needs, and scattered as real ones are."""
    rng, found, wrong = np.random.default_rng(0), [], []
    for _ in range(200):
        llrs = np.concatenate([rng.normal(5, 1, 12), rng.normal(-7.6, spread, 12)])
        labelled = window_posteriors(llrs, llrs, 0.5) >= 0.9
        found.append(labelled[12:].mean())
        wrong.append(labelled[:12].mean())
    print(f"scattered by {spread}: {np.mean(found):.3f} of the windows found, {np.mean(wrong):.3f} wrongly")
    assert np.mean(found) > 0.95
    assert np.mean(wrong) == 0


def test_no_windows_have_no_probabilities() -> None:
    assert window_posteriors(np.zeros(0), np.array([1.0]), 0.5).size == 0


def calibrated(rng: np.random.Generator, shape: tuple[int, int], dependence: str) -> np.ndarray:
    """Ratios of human windows that are calibrated: normal, with a variance of twice the mean (here 2 and 4)."""
    common, own = rng.standard_normal((shape[0], 1)), rng.standard_normal(shape)
    share = {"independent": 0.0, "alike": 0.5, "the same": 1.0}[dependence]
    return 2 + 2 * (math.sqrt(share) * common + math.sqrt(1 - share) * own)


@pytest.mark.parametrize("dependence", ["independent", "alike", "the same"])
def test_longer_human_recordings_are_not_called_synthetic_more_often(dependence: str) -> None:
    """The e-value of a recording is one, however its windows depend on one another."""
    rng, rule, trials = np.random.default_rng(0), DecisionRule(), 5_000
    shares = []
    for windows in (1, 2, 4, 16, 64):
        found = np.array([recording_llr(row) for row in calibrated(rng, (trials, windows), dependence)])
        evalues = np.exp(-found)
        assert evalues.mean() <= 1 + 4 * evalues.std() / math.sqrt(trials)
        shares.append(np.mean([rule.label(posterior(llr, rule)) == "synthetic" for llr in found.tolist()]))
    # Markov's bound for an e-value, and that of one window.
    assert shares[0] <= 1 / 9
    error = math.sqrt(shares[0] / trials)
    assert all(share <= shares[0] + 3 * error for share in shares[1:])
    # And of all windows of all recordings, hardly one is labelled synthetic.
    rows = calibrated(rng, (1_000, 16), dependence)
    named = [(window_posteriors(row, row, 0.5) >= rule.sure).any() for row in rows]
    assert np.mean(named) <= shares[0] + 3 * math.sqrt(shares[0] / 1_000)
    if dependence == "independent":
        assert shares[-1] < shares[0] / 10
