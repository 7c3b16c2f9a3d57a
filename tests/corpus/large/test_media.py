import numpy as np
import pytest
import soxr

from aasist_jax.corpus.large.media import MEDIA, through
from tests.corpus.made_games import vowel
from tests.corpus.made_voices import speech_like

RATE = 16_000


@pytest.mark.parametrize("medium", sorted(MEDIA))
def test_a_medium_keeps_length_level_and_its_band(medium: str) -> None:
    wave = speech_like(1.5, 0) + 0.01 * np.random.default_rng(1).standard_normal(round(1.5 * RATE))
    heard = through(wave, medium)
    assert heard.size == wave.size
    spectrum = np.abs(np.fft.rfft(heard)) ** 2
    hertz = np.fft.rfftfreq(wave.size, 1 / RATE)
    edge = MEDIA[medium][0] / 2
    assert spectrum[hertz > 1.02 * edge].sum() < 1e-3 * spectrum.sum()
    low = hertz < 1500
    assert spectrum[low].sum() == pytest.approx((np.abs(np.fft.rfft(wave)) ** 2)[low].sum(), rel=0.2)


def test_the_wide_medium_changes_nothing() -> None:
    wave = speech_like(1.0, 0)
    np.testing.assert_array_equal(through(wave, "wide"), wave)


@pytest.mark.parametrize("medium", sorted(set(MEDIA) - {"wide"}))
@pytest.mark.parametrize("gain", [1e-3, 3.0])
def test_the_level_does_not_matter(medium: str, gain: float) -> None:
    wave = speech_like(1.0, 0)
    heard, louder = through(wave, medium), through(gain * wave, medium)
    # A codec decides otherwise in places when the last bits differ.
    assert louder.std() == pytest.approx(gain * heard.std(), rel=0.05)
    assert np.corrcoef(heard, louder)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("medium", "least", "most"), [("8bit-11k", -50, -30), ("mp3-11k", -30, -8), ("gsm-8k", -30, -8)]
)
def test_coding_leaves_its_noise_and_no_delay(medium: str, least: float, most: float) -> None:
    wave = soxr.resample(vowel(2.0, 120), 11_025, RATE)
    clean = through(wave, "11k")
    noise = 20 * np.log10((through(wave, medium) - clean).std() / clean.std())
    assert least < noise < most
