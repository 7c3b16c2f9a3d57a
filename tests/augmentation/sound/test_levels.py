import numpy as np
import pytest

from aasist_jax.augmentation.sound.levels import active_level, fade, level_of, speech_level, trim
from tests.corpus.made_voices import RATE, speech_like


def test_trim_leaves_80_ms_on_either_side() -> None:
    wave = np.zeros(3 * RATE)
    wave[RATE : 2 * RATE] = speech_like(1.0, 0) + 0.05
    trimmed = trim(wave)
    assert trimmed.size == RATE + 2 * RATE * 80 // 1000
    np.testing.assert_array_equal(trimmed, wave[RATE - 1280 : 2 * RATE + 1280])


@pytest.mark.parametrize("samples", [0, 100, 319])
def test_trim_gives_back_what_is_shorter_than_a_frame(samples: int) -> None:
    assert trim(np.ones(samples)).size == samples


@pytest.mark.parametrize("samples", [50, 160, 1000])
def test_fade_starts_and_ends_near_zero_and_leaves_its_argument_alone(samples: int) -> None:
    wave = np.ones(samples)
    faded = fade(wave)
    assert wave.min() == 1
    assert max(faded[0], faded[-1]) < 1e-3
    assert np.all(faded <= 1)


def test_the_level_of_speech_leaves_noisy_pauses_out() -> None:
    speech = speech_like(4.0, 0)
    floor = 10 ** ((speech_level(speech) - 28) / 20)
    rng = np.random.default_rng(0)
    noisy, long_pause = speech + floor * rng.standard_normal(speech.size), floor * rng.standard_normal(5 * speech.size)
    padded = np.concatenate([noisy, long_pause])
    assert speech_level(padded) == pytest.approx(speech_level(speech), abs=0.1)
    assert active_level(padded) < speech_level(padded) - 6
    assert speech_level(0.5 * speech) == pytest.approx(speech_level(speech) - 6.0206, abs=1e-6)
    assert speech_level(np.zeros(1600)) == pytest.approx(-200)


@pytest.mark.parametrize("samples", [1, 319])
def test_what_is_shorter_than_a_frame_has_a_level(samples: int) -> None:
    assert level_of(np.full(samples, 0.1)) == pytest.approx(-20.0)
    assert level_of(np.zeros(samples)) == pytest.approx(-200.0)
