"""scikit-learn's names: its metrics take what the Detector gives, with the signs and columns that they expect."""

import io

import numpy as np
import pytest
import soundfile
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from aasist_jax.audio.facts import SignalLimits
from aasist_jax.calibration.detector_calibration import DetectorCalibration, FittedOn, Measured, score_rule
from aasist_jax.calibration.domain import Domain
from aasist_jax.calibration.llr import LogisticCalibration
from aasist_jax.data.layouts import find_layout
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.result import Score
from aasist_jax.detection.verdict import DecisionRule
from aasist_jax.errors import AudioError, WeightsError
from tests.conftest import CORPUS, needs_corpus
from tests.models.toy import WIDTH, WINDOW, toy_weights

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def detector() -> Detector:
    """A toy with a calibration that takes anything."""
    domain = Domain(np.zeros(WIDTH), np.ones(WIDTH), np.eye(3, WIDTH), np.zeros((1, 3)), farthest=1e9)
    calibration = DetectorCalibration(
        weights_id="toy-0123",
        rule=score_rule(WINDOW),
        logistic=LogisticCalibration((80.0,), -8.0, 0.5),
        lowest=0.0,
        highest=5.0,
        domain=domain,
        limits=SignalLimits(0.0, 0.0, 0.0),
        fitted_on=FittedOn("nothing", "0", 20, 20, 3, ("tts",), "by hand"),
        measured=Measured(1.0, 1.0, 0.9, 0.0, 0.0, 1.0),
    )
    return Detector(toy_weights(), calibration=calibration)


def noise() -> bytes:
    """A recording without speech, so without a number to act on."""
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000, format="WAV")
    return file.getvalue()


@needs_corpus
def test_scikit_learn_measures_a_detector(detector: Detector) -> None:
    clips = find_layout("asvspoof2019_la").read(CORPUS, "eval", "LA")
    chosen = [clip for kind in ("bonafide", "spoof") for clip in [each for each in clips if each.label == kind][:12]]
    recordings = [*[str(clip.path) for clip in chosen], noise()]
    truth = np.array([*["human" if clip.label == "bonafide" else "synthetic" for clip in chosen], "human"])
    results = [detector.score(recording) for recording in recordings]

    decisions, proba = detector.decision_function(recordings), detector.predict_proba(recordings)
    assert proba.shape == (25, 2)
    has_number = ~np.isnan(decisions)
    assert not has_number[-1]
    assert has_number.sum() > 15
    np.testing.assert_array_equal(has_number, [result.llr is not None for result in results])
    np.testing.assert_array_equal(np.isnan(proba), np.stack([~has_number] * 2, axis=1))

    told, truth = [result for result in results if result.llr is not None], truth[has_number]
    decisions, proba = decisions[has_number], proba[has_number]
    np.testing.assert_allclose(decisions, [-float(result.llr or 0) for result in told], rtol=1e-5)
    np.testing.assert_allclose(proba[:, 1], [result.p_synthetic for result in told], rtol=1e-5)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    # scikit-learn takes the second class in the order of the words, `synthetic`, for the positive one.
    pairs = [
        (a.llr or 0) > (b.llr or 0)
        for a, is_human in zip(told, truth == "human", strict=True)
        for b, is_other in zip(told, truth == "synthetic", strict=True)
        if is_human and is_other
    ]
    assert roc_auc_score(truth, decisions) == pytest.approx(np.mean(pairs))
    assert roc_auc_score(truth, proba[:, 1]) == roc_auc_score(truth, decisions)
    assert 0 < np.mean(pairs) < 1
    assert log_loss(truth, proba, labels=detector.classes_) > 0
    assert brier_score_loss(truth, proba[:, 1], pos_label="synthetic") > 0

    predicted = detector.predict(recordings)
    assert predicted.tolist() == [result.label for result in results]
    assert {*predicted} == {"human", "unsure", "synthetic"}
    sure = predicted[has_number] != "unsure"
    assert 0 <= accuracy_score(truth[sure], predicted[has_number][sure]) <= 1


@needs_corpus
def test_the_rule_counts(detector: Detector) -> None:
    clip = [str(next((CORPUS / "ASVspoof2019_LA_eval" / "flac").glob("*.flac")))]
    rule = DecisionRule(prior=0.01, sure=0.6)
    expected = detector.score(clip[0], rule=rule)
    assert detector.predict(clip, rule=rule).tolist() == [expected.label]
    assert detector.predict_proba(clip, rule=rule)[0, 1] == pytest.approx(expected.p_synthetic)


def test_without_a_calibration_there_are_labels_and_no_numbers() -> None:
    detector = Detector(toy_weights())
    assert detector.predict([noise()]).tolist() == ["unsure"]
    for method in (detector.predict_proba, detector.decision_function):
        with pytest.raises(WeightsError, match=r"toy-0123 has no calibration, .* `aasist-jax calibrate` makes one"):
            method([noise()])


def test_nothing_to_judge_gives_nothing(detector: Detector) -> None:
    assert detector.predict([]).shape == detector.decision_function([]).shape == (0,)
    assert detector.predict_proba([]).shape == (0, 2)


def test_a_recording_that_cannot_be_read_is_an_error(detector: Detector) -> None:
    assert isinstance(detector.score(noise()), Score)
    with pytest.raises(AudioError, match=r"missing\.wav"):
        detector.predict([noise(), "missing.wav"])
    with pytest.raises(AudioError, match="expected many recordings"):
        detector.predict("one.wav")
