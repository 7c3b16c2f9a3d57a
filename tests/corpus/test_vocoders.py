import numpy as np
import pytest
from scipy import signal

from tests.conftest import extra

extra("pyworld", "quickstart")

from aasist_jax.corpus import vocoders

RATE = 16000


@pytest.fixture(scope="module")
def vowel() -> np.ndarray:
    """A glide from 110 to 150 Hz through three formants, with a breath of noise, then a pause."""
    rng = np.random.default_rng(0)
    f0 = np.linspace(110, 150, 3 * RATE // 2)
    turns = np.floor(np.cumsum(f0 / RATE))
    wave = (np.diff(turns, prepend=0) > 0).astype(float) + 0.01 * rng.standard_normal(f0.size)
    for formant, width in ((700, 90), (1220, 110), (2600, 160)):
        radius = np.exp(-np.pi * width / RATE)
        wave = signal.lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], wave)
    wave = np.concatenate([wave, np.zeros(RATE // 4)])
    return 0.3 * wave / np.abs(wave).max() + 1e-5 * rng.standard_normal(wave.size)


def log_mel(wave: np.ndarray) -> np.ndarray:
    return np.log(np.abs(vocoders._stft(wave)) @ vocoders.mel_filters().T + 1e-3)


@pytest.mark.parametrize("name", sorted(vocoders.COPY_SYNTHESIS))
def test_a_copy_sounds_like_its_source_and_is_not_it(name: str, vowel: np.ndarray) -> None:
    copy = vocoders.COPY_SYNTHESIS[name](vowel, np.random.default_rng(1))
    assert copy.size == vowel.size
    assert np.all(np.isfinite(copy))
    wanted, there = log_mel(vowel), log_mel(copy)
    assert np.corrcoef(wanted.ravel(), there.ravel())[0, 1] > 0.94
    assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(vowel**2)), rel=0.35)
    assert np.corrcoef(copy, vowel)[0, 1] < 0.99


@pytest.mark.parametrize("name", sorted(vocoders.COPY_SYNTHESIS))
def test_a_copy_keeps_the_pitch(name: str, vowel: np.ndarray) -> None:
    copy = vocoders.COPY_SYNTHESIS[name](vowel, np.random.default_rng(1))
    start = RATE // 2
    for wave in (vowel, copy):
        part = wave[start : start + 2048]
        lags = signal.correlate(part, part, "full")[part.size - 1 :]
        assert RATE / (80 + np.argmax(lags[80:200])) == pytest.approx(110 + 40 / 3 + 1.7, abs=4)


@pytest.mark.parametrize("name", sorted(vocoders.COPY_SYNTHESIS))
def test_silence_stays_finite(name: str) -> None:
    copy = vocoders.COPY_SYNTHESIS[name](np.zeros(RATE), np.random.default_rng(0))
    assert copy.size == RATE
    assert np.abs(copy).max() < 1e-3


@pytest.mark.parametrize("samples", [RATE, RATE + 1, RATE + 255])
def test_the_short_time_transform_can_be_undone(samples: int) -> None:
    wave = np.random.default_rng(0).standard_normal(samples)
    np.testing.assert_allclose(vocoders._istft(vocoders._stft(wave), samples), wave, atol=1e-12)


def test_linear_prediction_finds_a_known_filter() -> None:
    true = np.array([1.0, -1.2, 0.7])
    wave = signal.lfilter([0.5], true, np.random.default_rng(0).standard_normal(20000))
    found, gain = vocoders._predict(wave * np.hanning(wave.size))
    np.testing.assert_allclose(found[:3], true, atol=0.03)
    assert np.abs(found[3:]).max() < 0.05
    assert gain == pytest.approx(0.5, rel=0.05)


def test_mel_filters_leave_no_gap() -> None:
    filters = vocoders.mel_filters()
    assert filters.shape == (80, 513)
    assert (filters.sum(axis=1) > 0).all()
    np.testing.assert_allclose(filters.sum(axis=0)[10:490], 1.0, atol=1e-12)
