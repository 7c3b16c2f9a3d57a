import numpy as np
import pytest
from scipy import signal

from tests.conftest import extra

extra("pyworld", "quickstart")

from aasist_jax.corpus.analysis_synthesis import _spectral_peaks, channel_vocoder, psola, sinusoidal
from aasist_jax.features.world import pitch
from tests.corpus.test_vocoders import RATE, log_mel, vowel

__all__ = ["vowel"]
COPIES = {"psola": psola, "sinusoidal": sinusoidal, "channel_vocoder": channel_vocoder}


@pytest.mark.parametrize("name", sorted(COPIES))
def test_a_copy_sounds_like_its_source_and_is_not_it(name: str, vowel: np.ndarray) -> None:
    copy = COPIES[name](vowel, np.random.default_rng(1))
    assert copy.size == vowel.size
    assert np.corrcoef(log_mel(vowel).ravel(), log_mel(copy).ravel())[0, 1] > 0.9
    assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(vowel**2)), rel=0.35)
    assert np.corrcoef(copy, vowel)[0, 1] < 0.9
    np.testing.assert_array_equal(copy, COPIES[name](vowel, np.random.default_rng(1)))


def pitch_of(wave: np.ndarray) -> float:
    part = wave[RATE // 2 : RATE // 2 + 2048]
    lags = signal.correlate(part, part, "full")[part.size - 1 :]
    return RATE / (80 + np.argmax(lags[80:200]))


@pytest.mark.parametrize("name", ["sinusoidal", "channel_vocoder"])
def test_a_copy_keeps_the_pitch(name: str, vowel: np.ndarray) -> None:
    assert pitch_of(COPIES[name](vowel, np.random.default_rng(1))) == pytest.approx(pitch_of(vowel), abs=4)


@pytest.mark.parametrize("seed", range(4))
def test_psola_moves_the_pitch_a_little(seed: int, vowel: np.ndarray) -> None:
    ratio = pitch_of(psola(vowel, np.random.default_rng(seed))) / pitch_of(vowel)
    assert 0.02 < abs(np.log(ratio)) < 0.16


@pytest.mark.parametrize("name", sorted(COPIES))
def test_silence_stays_finite(name: str) -> None:
    copy = COPIES[name](np.zeros(RATE), np.random.default_rng(0))
    assert copy.size == RATE
    assert np.abs(copy).max() < 1e-3


def test_spectral_peaks_lie_between_bins() -> None:
    window = signal.windows.hann(400, sym=False)
    wave = 0.5 * np.cos(2 * np.pi * 1003.0 * np.arange(400) / RATE)
    hertz, amplitudes = _spectral_peaks(np.abs(np.fft.rfft(wave * window, 1024)) * 2 / window.sum())
    assert hertz[0] == pytest.approx(1003.0, abs=1.0)
    assert amplitudes[0] == pytest.approx(0.5, rel=0.05)


def test_the_pitch_is_that_of_world(vowel: np.ndarray) -> None:
    f0, times = pitch(vowel)
    assert f0.size == times.size
    assert np.median(f0[f0 > 0]) == pytest.approx(130, abs=10)
