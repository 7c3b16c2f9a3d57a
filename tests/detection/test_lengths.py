"""A detector of clips of any length: one score on every way, and lengths that are checked."""

import jax
import numpy as np
import pytest

from aasist_jax.config import parse_model_config
from aasist_jax.detection.detector import Detector
from aasist_jax.errors import AudioError
from aasist_jax.models.network import init
from aasist_jax.models.variables import join_variables
from aasist_jax.weights.folder import Source, Weights
from tests.made_speech import made_speech
from tests.models.toys.any_length import MODEL_CONFIG


@pytest.fixture
def any_length(toys: None) -> Detector:
    """A detector whose windows hold up to 6,000 samples and at least 200."""
    config = parse_model_config(MODEL_CONFIG, "the test")
    variables = jax.tree.map(np.asarray, join_variables(*init(jax.random.key(0), config)))
    return Detector(Weights(config, variables, Source("toy", "0"), "toy-0", "0"))


@pytest.mark.parametrize("samples", [50, 200, 3_000, 6_000, 14_000])
def test_a_wave_of_any_length_has_one_score_on_every_way(any_length: Detector, samples: int) -> None:
    wave = made_speech(1.0)[1000 : 1000 + samples]
    window = np.pad(wave[:6_000], (0, max(6_000 - samples, 0)))[None]
    (logits,) = any_length.logits(window, np.array([min(max(samples, 200), 6_000)]))
    assert any_length.score((wave, 16_000), published=True).logits == tuple(map(float, logits))
    np.testing.assert_array_equal(any_length.start_logits(wave), logits)
    if samples >= 3_000:  # shorter, it is not known to be speech
        np.testing.assert_array_equal(any_length.score((wave, 16_000)).windows[0].logits, logits)
        np.testing.assert_array_equal(any_length.timeline((wave, 16_000)).windows[0].logits, logits)
    if samples >= 6_000:
        np.testing.assert_array_equal(any_length.logits(window)[0], logits)


@pytest.mark.parametrize(
    ("lengths", "complaint"),
    [
        ([0, 6_000], "lengths: expected 200 to 6000, got 0 to 6000"),
        ([199, 6_000], "lengths: expected 200 to 6000, got 199 to 6000"),
        ([200, 6_001], "lengths: expected 200 to 6000, got 200 to 6001"),
        ([6_000], "lengths: expected 2 integers, got int64 of shape (1,)"),
        ([0.5, 1.0], "lengths: expected 2 integers, got float64 of shape (2,)"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(any_length: Detector, lengths: list[float], complaint: str) -> None:
    with pytest.raises(AudioError) as caught:
        any_length.logits(np.zeros((2, 6_000), np.float32), np.array(lengths))
    assert str(caught.value) == complaint
