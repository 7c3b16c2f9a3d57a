"""Speech is found, human and synthetic, loud and quiet; music, tones and noise are not; pieces make no difference."""

import numpy as np
import pytest

from aasist_jax.audio.load import load_audio
from aasist_jax.audio.silero import CHUNK
from aasist_jax.audio.speech import LEAST_SPEECH, Activity, SpeechActivity, loudest_so_far
from aasist_jax.corpus.non_speech import NON_SPEECH
from tests.conftest import EVAL_CLIPS, needs_corpus
from tests.made_speech import hiss
from tests.models.aasist import official

WINDOW = 64_600


def heard(wave: np.ndarray) -> SpeechActivity:
    activity = SpeechActivity()
    activity.push(wave)
    return activity


def share(wave: np.ndarray, start: int = 0) -> float:
    return heard(wave).window(start, min(start + WINDOW, wave.size)).speech


@pytest.mark.parametrize("decibels", [-90, -75, -60, -45, -30, -10])
def test_noise_is_no_speech(decibels: float) -> None:
    assert share(hiss(20, decibels), 6 * 16_000) == 0


@pytest.mark.parametrize("name", NON_SPEECH)
@pytest.mark.parametrize("seed", range(2))
def test_music_and_tones_are_no_speech(name: str, seed: int) -> None:
    wave = NON_SPEECH[name](12 * 16_000, np.random.default_rng(seed)).astype(np.float32)
    activity = heard(wave)
    for start in range(0, wave.size - WINDOW, WINDOW // 4):
        assert activity.window(start, start + WINDOW).speech < LEAST_SPEECH


def test_silence_is_no_speech_and_constant() -> None:
    for value in (0.0, 0.25):
        assert heard(np.full(WINDOW, value, np.float32)).window(0, WINDOW) == Activity(True, 0.0)
    activity = heard(np.append(np.zeros(WINDOW - 1, np.float32), hiss(1, -80)))
    assert activity.window(0, WINDOW).is_constant
    assert not activity.window(4000, 4000 + WINDOW).is_constant


def test_without_detection_all_is_speech_but_silence_is_still_told() -> None:
    activity = SpeechActivity(detect=False)
    activity.push(np.append(hiss(5, -30), np.zeros(WINDOW, np.float32)))
    assert activity.window(0, WINDOW) == Activity(False, 1.0)
    assert activity.window(80_000, 80_000 + WINDOW) == Activity(True, 1.0)


@pytest.mark.reference
def test_a_sentence_is_speech_and_the_pause_behind_it_is_not() -> None:
    sentence = official.golden("AASIST-L").wave[-1].astype(np.float32)
    wave = np.concatenate([sentence, np.zeros(3 * WINDOW, np.float32), sentence]) + hiss(5 * WINDOW / 16_000, -60)
    assert share(wave, 0) > 3 * LEAST_SPEECH
    assert share(wave, WINDOW + 8000) == 0
    assert share(wave, 2 * WINDOW) == 0
    assert share(wave, 4 * WINDOW) > 3 * LEAST_SPEECH
    assert heard(wave).speech_seconds == pytest.approx(2 * heard(sentence).speech_seconds, rel=0.1)


@needs_corpus
@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_clips_of_a_corpus_are_speech(gain: float) -> None:
    shares = [share(np.float32(gain) * load_audio(file)) for file in sorted(EVAL_CLIPS.glob("*.flac"))[::7]]
    # One that Griffin-Lim made of a few words in a second of silence each is missed at any level.
    assert sum(found < LEAST_SPEECH for found in shares) == 1
    assert np.median(shares) > 0.8


@needs_corpus
@pytest.mark.parametrize("size", [1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1])
def test_a_recording_of_less_than_two_chunks_is_judged(size: int) -> None:
    assert heard(np.zeros(size, np.float32)).window(0, size) == Activity(True, 0.0)
    wave = load_audio(min(EVAL_CLIPS.glob("*.flac")))
    loud = int(np.abs(wave).argmax())
    activity = heard(wave[loud - 200 : loud - 200 + size])
    found = activity.window(0, size)
    assert not found.is_constant or size == 1
    # The whole chunks of a span count; where there is none, the one that is filled up does.
    assert found.speech in (0.0, 1.0)
    assert activity.speech_seconds <= size / 16_000


@needs_corpus
def test_pieces_and_forgetting_make_no_difference() -> None:
    rng = np.random.default_rng(1)
    files = sorted(EVAL_CLIPS.glob("*.flac"))[:12]
    wave = np.concatenate([part for file in files for part in (load_audio(file), hiss(1.0, -50))])
    whole = heard(wave)
    starts = range(0, wave.size - WINDOW, 9 * CHUNK + 1)
    expected = [whole.window(start, start + WINDOW) for start in starts]
    assert len({activity.speech for activity in expected}) > 20
    pieces, received, found = SpeechActivity(), 0, []
    for start in starts:
        while received < start + WINDOW:
            size = int(rng.integers(1, 9000))
            pieces.push(wave[received : received + size])
            received += size
        found.append(pieces.window(start, start + WINDOW))
        pieces.forget(start)
    pieces.push(wave[received:])
    assert found == expected
    assert pieces.speech_seconds == whole.speech_seconds
    assert 10 < whole.speech_seconds < wave.size / 16_000


def test_peaks_fade() -> None:
    peaks = np.zeros(1000, np.float32)
    peaks[[0, 500]] = 0.8, 0.4
    found = loudest_so_far(peaks, 0.0)
    seconds = np.arange(500) * CHUNK / 16_000
    np.testing.assert_allclose(found[:500], 0.8 * np.exp(-seconds / 5), rtol=1e-6)
    np.testing.assert_allclose(found[500:], 0.4 * np.exp(-seconds / 5), rtol=1e-6)
    assert np.array_equal(np.append(found[:7], loudest_so_far(peaks[7:], found[6])), found)
