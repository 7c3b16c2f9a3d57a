"""Calibrations are fitted to what is known, and measured on voices that the fit has not met."""

import math
from dataclasses import replace

import numpy as np
import pytest

from aasist_jax.audio.facts import USUAL, SignalFacts, SignalLimits
from aasist_jax.calibration import fitting
from aasist_jax.calibration.detector_calibration import DetectorCalibration, FittedOn
from aasist_jax.calibration.evidence import recording_llr
from aasist_jax.calibration.fitting import DURATIONS, LEAST_RECORDINGS, Recording, fit, held_out_llrs
from aasist_jax.calibration.llr import LogisticCalibration, fit_logistic
from aasist_jax.errors import DataError
from aasist_jax.metrics.calibration_loss import cllr_bits
from aasist_jax.metrics.scores import ScoresError

DATA = FittedOn("made", "0" * 64, 0, 0, 0, (), "none")
FACTS = SignalFacts(
    4.0, 3.0, level_dbfs=-26.0, peak=0.5, clipped_share=0.0, bandwidth_hz=8000.0, snr_db=35.0, decay_db=27.0
)


def recordings(
    seed: int = 0, *, per_voice: int = 12, voices: int = 8, windows: int = 2, apart: float = 2.0, spread: float = 0.5
) -> list[Recording]:
    """Human voices and as many systems, whose scores differ from voice to voice by `spread`, in a known way."""
    rng, found = np.random.default_rng(seed), []
    for number in range(2 * voices):
        is_human = number < voices
        level = (apart if is_human else -apart) / 2 + spread * rng.normal()
        for i in range(per_voice):
            found.append(
                Recording(
                    name=f"{number}-{i}",
                    is_human=is_human,
                    voice=f"speaker {number}" if is_human else f"imitated {number}",
                    system="-" if is_human else f"system {number}",
                    scores=level + rng.normal(size=windows),
                    embeddings=rng.normal(size=(windows, 4)),
                    facts=replace(FACTS, bandwidth_hz=8000.0 if i else 4000.0),
                )
            )
    return found


def fitted(known: list[Recording]) -> DetectorCalibration:
    return fit(known, weights_id="toy-0123", rule="a rule", fitted_on=DATA)


def test_a_calibration_says_what_it_is_of() -> None:
    known = recordings()
    found = fitted(known)
    scores = np.concatenate([each.scores for each in known])
    assert (found.weights_id, found.rule, found.fitted_on) == ("toy-0123", "a rule", DATA)
    assert scores.min() <= found.lowest < found.highest <= scores.max()
    assert found.logistic.slopes[0] > 0
    found.domain.check()


def test_limits_are_lower_where_the_set_is_not_rarely_beyond_them() -> None:
    known = recordings(per_voice=8, voices=4)
    # An eighth of the recordings is narrow, which is not rare.
    assert fitted(known).limits == replace(USUAL, bandwidth_hz=4000.0)
    wide = [replace(each, facts=FACTS) for each in known]
    assert fitted(wide).limits == USUAL
    noisy = replace(FACTS, snr_db=11.0, decay_db=9.0)
    assert fitted([replace(each, facts=noisy) for each in wide[:8]] + wide[8:]).limits == SignalLimits(
        snr_db=11.0, decay_db=9.0
    )
    rare = [replace(wide[0], facts=noisy), *wide[1:]]
    assert fitted(rare).limits == USUAL
    unknown = replace(FACTS, snr_db=None, decay_db=None)
    assert fitted([replace(each, facts=unknown) for each in wide]).limits == USUAL


def test_scores_beyond_what_was_met_count_as_the_farthest_that_was() -> None:
    found = fitted(recordings())
    ends = found.llrs(np.array([found.lowest, found.highest]))
    np.testing.assert_array_equal(found.llrs(np.array([-1e9, 1e9])), ends)
    inside = np.linspace(found.lowest, found.highest, 9)
    np.testing.assert_allclose(found.llrs(inside), found.logistic.slopes[0] * inside + found.logistic.offset)
    assert (np.diff(found.llrs(inside)) > 0).all()


def test_no_ratio_is_stronger_than_so_many_recordings_support() -> None:
    """Scores that lie far apart would give any ratio; of 96 and 48 recordings, none is beyond 97 and 49."""
    known = [each for each in recordings(apart=40.0) if each.is_human or int(each.name.split("-")[0]) < 12]
    found = fitted(known)
    assert sum(each.is_human for each in known) == 96
    ends = found.llrs(np.array([-1e9, 1e9]))
    np.testing.assert_allclose(ends, [-math.log(97), math.log(49)], rtol=1e-9)
    # Where the scores themselves end earlier, so do the ratios.
    near = recordings(apart=0.5, spread=0.0)
    scores = np.concatenate([each.scores for each in near])
    assert (fitted(near).lowest, fitted(near).highest) == (scores.min(), scores.max())


def test_ratios_are_close_to_the_true_ones() -> None:
    """Windows of one normal distribution a class: the true ratio of a score is `apart` times it."""
    logistic, _, _ = fitting._fit_map(recordings(1, per_voice=400, windows=1, spread=0.0), (-9.0, 9.0))
    assert logistic.slopes[0] == pytest.approx(2.0, rel=0.1)
    assert logistic.offset == pytest.approx(0.0, abs=0.1)


def test_the_least_steep_map_of_all_durations_is_taken() -> None:
    """Where voices differ much, longer recordings of one are no surer; where they do not, they are."""
    for spread in (0.0, 1.5):
        known = recordings(2, per_voice=20, windows=1, spread=spread)
        slopes = []
        for duration in DURATIONS:
            trials = fitting._joined(known, duration)
            means = np.array([each.scores.mean() for each in trials])
            slopes.append(fit_logistic(means, np.array([each.is_human for each in trials])).slopes[0])
        assert fitting._fit_map(known, (-9.0, 9.0))[0].slopes[0] == min(slopes)
        # The single window, which is the least certain if nothing else differs.
        if spread == 0.0:
            assert slopes[0] == min(slopes)


def test_recordings_are_joined_of_one_voice_and_one_system_and_each_window_once() -> None:
    known = recordings(per_voice=5, windows=3)
    for duration in DURATIONS:
        joined = fitting._joined(known, duration)
        assert all(len(each.scores) == duration for each in joined)
        assert len(joined) == 16 * (15 // duration)
        for each in joined:
            own = [other for other in known if (other.voice, other.system) == (each.voice, each.system)]
            assert set(each.scores) <= set(np.concatenate([other.scores for other in own]))
        used = np.concatenate([each.scores for each in joined])
        assert len(set(used)) == len(used)


def test_a_window_that_overlaps_is_no_window_more() -> None:
    scores = np.arange(3.0)
    one = replace(recordings()[0], scores=scores, embeddings=np.zeros((3, 4)))
    two = replace(one, overlaps=True)
    assert (one.pieces, two.pieces) == (3, 2)
    assert [piece.tolist() for piece in fitting._pieces(one)] == [[0], [1], [2]]
    assert [piece.tolist() for piece in fitting._pieces(two)] == [[0], [1, 2]]
    alone = replace(two, scores=scores[:1], embeddings=np.zeros((1, 4)))
    assert (alone.pieces, len(fitting._pieces(alone))) == (1, 1)


def test_each_voice_is_measured_by_maps_that_have_not_met_it() -> None:
    """What is measured of a voice does not change with its own scores, however wrong these are."""
    known = recordings(3)
    found = fitted(known)
    before = held_out_llrs(known, found)
    own = [i for i, each in enumerate(known) if each.voice == "speaker 2"]
    odd = [replace(each, scores=-4 * each.scores) if i in own else each for i, each in enumerate(known)]
    # The calibration itself moves; the maps for this voice do not.
    maps, changed = fitting._maps_without(known, found), fitting._maps_without(odd, found)
    probe = np.linspace(-3, 3, 7)
    np.testing.assert_array_equal(maps["voice speaker 2"](probe), changed["voice speaker 2"](probe))
    assert not np.array_equal(maps["voice speaker 3"](probe), changed["voice speaker 3"](probe))
    np.testing.assert_allclose(before[own], [recording_llr(maps["voice speaker 2"](known[i].scores)) for i in own])


def test_a_set_without_voices_leaves_each_recording_out() -> None:
    known = [replace(each, voice="-") for each in recordings(per_voice=4)]
    groups = {each.group for each in known}
    assert "recording 0-0" in groups
    assert "system system 15" in groups
    assert len(groups) == 8 * 4 + 8


def test_what_is_measured_is_counted_on_voices_left_out() -> None:
    known = recordings(4)
    found = fitted(known)
    llrs = held_out_llrs(known, found)
    is_human = np.array([each.is_human for each in known])
    border = math.log(9)
    measured = found.measured
    assert measured.sure == 0.9
    assert measured.human_called_synthetic == np.mean(llrs[is_human] <= -border)
    assert measured.synthetic_called_human == np.mean(llrs[~is_human] >= border)
    assert measured.unsure == np.mean(np.abs(llrs) < border)
    assert measured.cllr == pytest.approx(cllr_bits(llrs[is_human], llrs[~is_human]))
    assert measured.min_cllr <= measured.cllr
    # Of 12 recordings of 2 windows, 3 of 8 windows can be made.
    assert set(measured.durations) == {"1", "2", "4", "8"}
    assert sum(each.recordings for each in measured.voices) == len(known)
    wrongs = [(each.wrong, each.unsure) for each in measured.voices]
    assert wrongs == sorted(wrongs, reverse=True)
    human_errors = [each.wrong * each.recordings for each in measured.voices if each.is_human]
    assert sum(human_errors) == pytest.approx(measured.human_called_synthetic * is_human.sum())


def test_on_voices_left_out_few_labels_are_wrong_where_nine_in_ten_must_be_right() -> None:
    """A label asks for a posterior of 0.9. Over many sets, fewer than one label in ten is wrong."""
    wrong = labelled = 0
    for seed in range(10, 13):
        known = recordings(seed, voices=12, per_voice=8, spread=1.0)
        llrs, is_human = held_out_llrs(known, fitted(known)), np.array([each.is_human for each in known])
        sure = np.abs(llrs) >= math.log(9)
        wrong += int(((llrs > 0) != is_human)[sure].sum())
        labelled += int(sure.sum())
    print(f"{wrong} of {labelled} labels wrong")
    assert labelled > 30
    assert wrong / labelled < 0.1


@pytest.mark.parametrize("is_human", [True, False])
def test_too_few_recordings_are_refused(is_human: bool) -> None:
    known = recordings()
    own = [each for each in known if each.is_human == is_human]
    others = [each for each in known if each.is_human != is_human]
    kind = "human" if is_human else "synthetic"
    for count in (0, LEAST_RECORDINGS - 1):
        with pytest.raises(
            DataError, match=rf"^{count} {kind} recordings with speech; a calibration needs at least 20"
        ):
            fitted(own[:count] + others)


def test_too_few_voices_are_refused() -> None:
    known = [each for each in recordings(per_voice=30) if not each.is_human or each.voice in ("speaker 0", "speaker 1")]
    with pytest.raises(DataError, match=r"^2 human voices; a calibration is measured on voices that are left out"):
        fitted(known)


def test_labels_the_wrong_way_round_are_told() -> None:
    known = [replace(each, scores=-each.scores) for each in recordings()]
    with pytest.raises(DataError, match="the labels are the wrong way round"):
        fitted(known)


def test_scores_that_are_all_the_same_are_refused() -> None:
    known = [replace(each, scores=np.zeros(2)) for each in recordings()]
    with pytest.raises((DataError, ScoresError)) as caught:
        fitted(known)
    assert "\n" not in str(caught.value)


def test_classes_that_never_overlap_give_finite_numbers() -> None:
    found = fitted(recordings(apart=200.0))
    ends = found.llrs(np.array([-1e6, 1e6]))
    assert np.isfinite(ends).all()
    assert isinstance(found.logistic, LogisticCalibration)
    assert found.measured.human_called_synthetic == found.measured.synthetic_called_human == 0
