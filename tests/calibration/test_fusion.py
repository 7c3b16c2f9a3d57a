"""The fusion of log-likelihood ratios: better than its parts, bounded, and measured on voices left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.calibration.detector_calibration import FittedOn
from aasist_jax.calibration.fitting import Recording
from aasist_jax.calibration.fusion import fit_fusion, held_out_fused_llrs, read_fusion, save_fusion
from aasist_jax.errors import DataError
from aasist_jax.metrics.calibration_loss import cllr_bits
from tests.calibration.test_fitting import FACTS

DATA = FittedOn("made", "0" * 64, 0, 0, 0, (), "none")


def recordings(count: int = 200, members: int = 2, noise_only: bool = False) -> list[Recording]:
    """Calibrated LLRs of independent detectors: normal with means of 2 and -2 and a variance of 4 (d' = 2)."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        is_human = number % 2 == 0
        llrs = rng.normal(2.0 if is_human else -2.0, 2.0, members)
        if noise_only:
            # Of the first one's error, with the wrong sign: it is as right as the first, and adds nothing.
            llrs[1] = llrs[0] + rng.normal(2.0 if not is_human else -2.0, 0.5)
        voice, system = f"v{number % 20}", "-" if is_human else "tts"
        made.append(Recording(str(number), is_human, voice, system, llrs, np.empty((members, 0)), FACTS))
    return made


def test_independent_evidence_adds_up() -> None:
    """The LLR of two independent detectors is the sum of theirs: weights of one, offset of nought."""
    fusion = fit_fusion(recordings(4000), members=("a", "b"), fitted_on=DATA)
    np.testing.assert_allclose(fusion.logistic.slopes, 1.0, atol=0.15)
    assert abs(fusion.logistic.offset) < 0.2
    assert fusion.llrs(np.array([1.0, 0.5]))[0] == pytest.approx(1.5, abs=0.3)


def test_it_is_never_surer_than_the_sum_of_its_parts() -> None:
    """Also where they separate the recordings, and a logistic regression would be as sure as one likes."""
    apart = [replace(each, scores=each.scores * 0.1 + (1.5 if each.is_human else -1.5)) for each in recordings()]
    fusion = fit_fusion(apart, members=("a", "b"), fitted_on=DATA)
    assert max(fusion.logistic.slopes) == 1.0
    assert abs(fusion.logistic.offset) < 0.5
    assert fusion.llrs(np.array([1.0, 0.5]))[0] < 2.0


def test_it_is_better_than_its_parts_on_voices_left_out() -> None:
    known = recordings()
    fusion = fit_fusion(known, members=("a", "b"), fitted_on=DATA)
    is_human = np.array([each.is_human for each in known])
    alone = [cllr_bits(llrs[is_human], llrs[~is_human]) for llrs in np.array([each.scores for each in known]).T]
    assert fusion.measured.cllr < min(alone)
    llrs = held_out_fused_llrs(known, fusion)
    assert fusion.measured.cllr == pytest.approx(cllr_bits(llrs[is_human], llrs[~is_human]))
    assert (fusion.measured.sure, fusion.measured.durations) == (0.9, {})
    assert {each.name for each in fusion.measured.voices} == {*(f"v{number}" for number in range(0, 20, 2)), "tts"}


def test_a_voice_is_judged_without_itself() -> None:
    known = recordings()
    fusion = fit_fusion(known, members=("a", "b"), fitted_on=DATA)
    before = held_out_fused_llrs(known, fusion)
    changed = [replace(each, scores=-each.scores) if each.voice == "v0" else each for each in known]
    after = held_out_fused_llrs(changed, fusion)
    own = np.array([each.voice == "v0" for each in known])
    assert not np.allclose(before[~own], after[~own])
    kept = fit_fusion([each for each in known if each.voice != "v0"], members=("a", "b"), fitted_on=DATA)
    expected = [float(kept.logistic.apply(each.scores[np.newaxis])[0]) for each in known if each.voice == "v0"]
    np.testing.assert_allclose(before[own], np.clip(expected, fusion.lowest, fusion.highest), atol=1e-6)


def test_it_is_bounded_by_the_number_of_recordings() -> None:
    fusion = fit_fusion(recordings(200), members=("a", "b"), fitted_on=DATA)
    assert fusion.strongest == (pytest.approx(-np.log(101)), pytest.approx(np.log(101)))
    assert fusion.llrs(np.array([50.0, 50.0]))[0] == fusion.highest
    assert fusion.llrs(np.array([-50.0, -50.0]))[0] == fusion.lowest


def test_what_adds_nothing_is_named() -> None:
    with pytest.raises(DataError, match=r"^b: adds nothing to the others, its weight would be -[\d.]+; leave it out$"):
        fit_fusion(recordings(noise_only=True), members=("a", "b"), fitted_on=DATA)


def test_too_few_recordings_are_refused() -> None:
    with pytest.raises(DataError, match="a calibration needs at least 20 of each class"):
        fit_fusion(recordings(20), members=("a", "b"), fitted_on=DATA)


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    fusion = fit_fusion(recordings(), members=("a", "b"), fitted_on=DATA)
    save_fusion(fusion, tmp_path / "new" / "fusion.json")
    assert read_fusion(tmp_path / "new" / "fusion.json") == fusion
    assert read_fusion(tmp_path / "new" / "fusion.json").fusion_id == fusion.fusion_id
