from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy import signal

from aasist_jax.augmentation.sound.levels import active_level, speech_level
from aasist_jax.augmentation.sound.lossy import encode
from aasist_jax.augmentation.sound.responses import decaying_response
from aasist_jax.corpus.degradations import DEGRADATIONS, MP3_64K, OPUS_12K, REVERBERATION, mu_law
from aasist_jax.corpus.non_speech import CALL_PROGRESS, DTMF_HIGH, DTMF_LOW, NON_SPEECH, noise_at
from tests.conftest import EVAL_CLIPS, needs_corpus
from tests.corpus.made_voices import RATE, speech_like

SPEECH = speech_like(4.0, 0)


def changed(name: str, seed: int = 0) -> np.ndarray:
    return DEGRADATIONS[name](SPEECH, np.random.default_rng(seed))


def share(wave: np.ndarray, low: float, high: float) -> float:
    """The share of the power that lies in a band."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(wave.size))) ** 2
    frequencies = np.fft.rfftfreq(wave.size, 1 / RATE)
    return float(spectrum[(frequencies >= low) & (frequencies < high)].sum() / spectrum.sum())


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_each_keeps_the_length_and_the_time_and_follows_from_its_seed(name: str) -> None:
    wave = changed(name)
    assert wave.shape == SPEECH.shape
    np.testing.assert_array_equal(wave, changed(name))
    lags = signal.correlate(wave, SPEECH, "full", method="fft")
    assert abs(int(lags.argmax()) - (SPEECH.size - 1)) <= 1
    assert np.abs(wave - SPEECH).max() > 1e-3, "unchanged"
    other = changed(name, seed=1)
    assert np.array_equal(wave, other) == (name in ("telephone", "opus-12k", "mp3-64k"))


def test_a_telephone_has_its_band_and_the_noise_of_mu_law() -> None:
    wave = changed("telephone")
    assert share(wave, 0, 200) + share(wave, 3700, 8000) < 1e-3 < share(SPEECH, 0, 200) + share(SPEECH, 3700, 8000)
    # mu-law keeps 8 bits on a logarithmic scale: about 38 dB between a sine and the error.
    phase = 2 * np.pi * 1020 * np.arange(2 * RATE) / RATE
    heard = DEGRADATIONS["telephone"](0.3 * np.sin(phase), np.random.default_rng(0))[RATE // 2 : -RATE // 2]
    sines = np.stack([np.sin(phase), np.cos(phase)], axis=1)[RATE // 2 : -RATE // 2]
    error = heard - sines @ np.linalg.lstsq(sines, heard, rcond=None)[0]
    assert 36 < 10 * np.log10(np.mean(heard**2) / np.mean(error**2)) < 40


def test_mu_law_alone_keeps_what_8_khz_can_carry() -> None:
    wave = noise_at(4 * RATE, np.random.default_rng(0), -20.0)
    alone, telephone = mu_law(wave), DEGRADATIONS["telephone"](wave, np.random.default_rng(0))
    assert share(alone, 0, 200) + share(alone, 3500, 3800) > 0.1 > 0.02 > share(alone, 4100, 8000)
    assert share(telephone, 0, 200) + share(telephone, 3700, 8000) < 0.01


def test_the_noise_is_10_db_below_the_speech() -> None:
    noise = changed("noise-10dB") - SPEECH
    assert speech_level(SPEECH) - 10 * np.log10(np.mean(noise**2)) == pytest.approx(10.0, abs=0.01)


def test_a_room_keeps_the_level() -> None:
    assert speech_level(changed("room")) == pytest.approx(speech_level(SPEECH), abs=1e-6)


@needs_corpus
@pytest.mark.parametrize(
    ("codec", "file_format", "options", "kilobits"),
    [("opus", "OGG", OPUS_12K, 12.0), ("mpeg_layer_iii", "MP3", MP3_64K, 64.0)],
)
def test_the_bitrates_are_those_named(
    codec: str, file_format: str, options: Mapping[str, Any], kilobits: float
) -> None:
    """By the growth of the file with real speech, which leaves its header out; Opus varies its rate about the mean."""
    clips = [soundfile.read(path)[0] for path in sorted(EVAL_CLIPS.glob("*.flac"))[:20]]
    waves = [np.concatenate(clips[:count]) for count in (2, 20)]
    short, long = (len(encode(wave, codec, file_format, **options)) for wave in waves)
    seconds = (waves[1].size - waves[0].size) / RATE
    assert (long - short) * 8 / seconds / 1000 == pytest.approx(kilobits, rel=0.05)


def test_the_room_decays_by_60_db_in_its_time() -> None:
    response = decaying_response(REVERBERATION, np.random.default_rng(0))
    assert response[0] == 1.0
    assert np.sum(response[1:] ** 2) == pytest.approx(1.0)
    assert response.size == REVERBERATION * RATE
    # Schroeder's integral from 5 to 25 dB below the start, times three.
    decay = 10 * np.log10(np.cumsum(response[:0:-1] ** 2)[::-1])
    crossed = [int(np.argmax(decay < level)) for level in (-5, -25)]
    assert 3 * (crossed[1] - crossed[0]) / RATE == pytest.approx(REVERBERATION, rel=0.1)


@pytest.mark.parametrize("name", NON_SPEECH)
@pytest.mark.parametrize("samples", [1600, 64_601])
def test_non_speech_has_its_length_and_level_and_follows_from_its_seed(name: str, samples: int) -> None:
    wave, again, other = (NON_SPEECH[name](samples, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert wave.shape == (samples,)
    assert np.abs(wave).max() <= 1.0
    np.testing.assert_array_equal(wave, again)
    assert np.array_equal(wave, other) == (name == "silence")
    if name == "silence":
        assert not wave.any()
    else:
        assert active_level(wave) == pytest.approx(-26.0, abs=0.1)


def test_dtmf_is_pairs_of_the_standard() -> None:
    wave = NON_SPEECH["dtmf"](RATE, np.random.default_rng(0))
    for start in range(0, RATE, 3200):
        spectrum = np.abs(np.fft.rfft(wave[start : start + 1600], RATE))
        strongest = {int(spectrum[:1080].argmax()), 1080 + int(spectrum[1080:2000].argmax())}
        assert min(abs(low - min(strongest)) for low in DTMF_LOW) <= 3
        assert min(abs(high - max(strongest)) for high in DTMF_HIGH) <= 3
        assert not wave[start + 1600 : start + 3200].any()


def test_music_has_drums_and_music_on_hold_is_narrow() -> None:
    music, hold = (NON_SPEECH[name](8 * RATE, np.random.default_rng(0)) for name in ("music", "hold-music"))
    assert share(music, 5000, 8000) > 1e-4
    assert share(hold, 3700, 8000) < 1e-4


def test_tones_of_a_call_are_pairs_that_come_and_go() -> None:
    heard = set()
    for seed in range(12):
        wave = NON_SPEECH["call-progress"](6 * RATE, np.random.default_rng(seed))
        spectrum = np.abs(np.fft.rfft(wave[: RATE // 2], RATE))
        pair = [each for each in (350, 440, 480, 620) if spectrum[each] > spectrum.max() / 2]
        on = round(float(np.mean(np.abs(wave.reshape(-1, RATE // 10)).max(axis=1) > 0)), 2)
        heard.add((*pair, on))
    assert heard == {(low, high, round(on / period, 2)) for low, high, on, period in CALL_PROGRESS.values()}


@pytest.mark.parametrize(("slope", "ratio"), [(0.0, 2.0), (1.0, 1.0), (2.0, 0.5)])
def test_noise_has_its_level_and_its_colour(slope: float, ratio: float) -> None:
    """White noise has twice the power in an octave than in the one below, pink noise the same, brown noise half."""
    wave = noise_at(20 * RATE, np.random.default_rng(0), -30.0, slope)
    assert 20 * np.log10(wave.std()) == pytest.approx(-30.0)
    assert share(wave, 1000, 2000) / share(wave, 500, 1000) == pytest.approx(ratio, rel=0.05)
