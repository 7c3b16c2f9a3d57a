"""Voice activity: real speech is judged, silence and noise are not, and pieces make no difference."""

import numpy as np
import pytest

from aasist_jax.audio.activity import BLOCK, LEAST_SPEECH, Levels
from aasist_jax.audio.load import load_audio
from tests.conftest import EVAL_CLIPS, needs_corpus
from tests.models.aasist import official

WINDOW = 64_600


def noise(seconds: float, decibels: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=round(16_000 * seconds)) * 10 ** (decibels / 20)).astype(np.float32)


def share(wave: np.ndarray, start: int = 0) -> float:
    levels = Levels()
    levels.push(wave)
    return levels.window(start, min(start + WINDOW, wave.size)).speech


@pytest.mark.parametrize("decibels", [-75, -60, -45, -30])
def test_steady_noise_is_no_speech(decibels: float) -> None:
    assert share(noise(20, decibels), 6 * 16_000) < LEAST_SPEECH / 3


@pytest.mark.parametrize("order", [1, -1])
def test_digital_silence_is_no_measure_of_the_noise(order: int) -> None:
    wave = np.concatenate([np.zeros(64_000, np.float32), noise(6, -56)][::order])
    assert share(wave, wave.size - WINDOW) < LEAST_SPEECH / 3


def test_silence_is_no_speech_and_constant() -> None:
    for value in (0.0, 0.25):
        levels = Levels()
        levels.push(np.full(WINDOW, value, np.float32))
        activity = levels.window(0, WINDOW)
        assert activity.is_constant
        assert activity.speech == 0
    levels = Levels()
    levels.push(np.append(np.zeros(WINDOW - 1, np.float32), noise(1, -80)))
    assert not levels.window(4000, 4000 + WINDOW).is_constant


@pytest.mark.reference
def test_a_sentence_is_speech_and_the_pause_behind_it_is_not() -> None:
    sentence = official.golden("AASIST-L").wave[-1].astype(np.float32)
    wave = np.concatenate([sentence, np.zeros(3 * WINDOW, np.float32), sentence]) + noise(5 * WINDOW / 16_000, -60)
    assert share(wave, 0) > 3 * LEAST_SPEECH
    assert share(wave, WINDOW + 8000) < LEAST_SPEECH / 3
    assert share(wave, 2 * WINDOW) < LEAST_SPEECH / 3
    assert share(wave, 4 * WINDOW) > 3 * LEAST_SPEECH


@needs_corpus
def test_clips_of_a_corpus_are_speech() -> None:
    shares = [share(load_audio(file)) for file in sorted(EVAL_CLIPS.glob("*.flac"))[::7]]
    # All 355 lie between 0.25 and 0.97.
    assert min(shares) > LEAST_SPEECH
    assert np.median(shares) > 0.5


def test_pieces_and_forgetting_make_no_difference() -> None:
    rng = np.random.default_rng(1)
    wave = noise(60, -50) * np.repeat(rng.uniform(0.1, 30, 60), 16_000).astype(np.float32)
    whole = Levels()
    whole.push(wave)
    starts = range(0, wave.size - WINDOW, 9 * BLOCK)
    expected = [whole.window(start, start + WINDOW) for start in starts]
    assert len({activity.speech for activity in expected}) > 20
    pieces, received, found = Levels(), 0, []
    for start in starts:
        while received < start + WINDOW:
            size = int(rng.integers(1, 9000))
            pieces.push(wave[received : received + size])
            received += size
        found.append(pieces.window(start, start + WINDOW))
        pieces.forget(start)
    assert found == expected
