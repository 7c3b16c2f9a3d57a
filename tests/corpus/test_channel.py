import numpy as np
import pytest
from scipy import signal

from aasist_jax.augmentation.sound.levels import active_level, frame_levels
from aasist_jax.augmentation.sound.lossy import encode_decode
from aasist_jax.corpus import channel

RATE = 16000


def speech_like(seconds: float, seed: int = 0, floor: float = 1e-4) -> np.ndarray:
    """Bursts of coloured noise, four a second, over a quiet floor."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    carrier = signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(time.size))
    envelope = np.clip(np.sin(2 * np.pi * 4 * time), 0, None)
    return 0.1 * envelope * carrier + floor * rng.standard_normal(time.size)


def power(wave: np.ndarray, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(wave.size))) ** 2
    frequencies = np.fft.rfftfreq(wave.size, 1 / RATE)
    return float(spectrum[(frequencies >= low) & (frequencies < high)].sum())


def test_band_limit_takes_away_dc_and_what_lies_outside_and_keeps_the_rest() -> None:
    time = np.arange(2 * RATE) / RATE
    inside, below, above = (np.sin(2 * np.pi * f * time) for f in (1000, 20, 7700))
    limited = channel.band_limit(0.3 + inside + below + above)
    middle = slice(RATE // 2, -RATE // 2)
    np.testing.assert_allclose(limited[middle], inside[middle], atol=2e-3)


def test_to_level_sets_the_active_level_whatever_the_pauses() -> None:
    wave = speech_like(2.0)
    padded = np.concatenate([wave, np.zeros(3 * RATE)])
    for one in (wave, padded):
        assert active_level(channel.to_level(one)) == pytest.approx(channel.LEVEL, abs=1e-6)


def test_to_level_never_clips() -> None:
    clicks = np.full(RATE, 1e-3)
    clicks[::1600] = 1.0
    assert np.abs(channel.to_level(clicks, -10.0)).max() <= 0.99 + 1e-12


def test_join_strings_short_utterances_together_and_cuts_to_length() -> None:
    pieces = [speech_like(1.0, seed) for seed in range(6)]
    joined = channel.join(pieces, 40000)
    assert joined.size == 40000
    assert channel.join(pieces[:1], 40000).size <= RATE


def test_take_on_brings_long_term_spectrum_and_floor_of_the_reference() -> None:
    reference = signal.lfilter([1.0, 0.95], [1.0], speech_like(4.0, 1, floor=2e-3))
    dry = speech_like(4.0, 2, floor=0.0)
    matched = channel.take_on(dry, reference, np.random.default_rng(0))
    wanted = channel.long_term_spectrum(reference)
    inside = (channel.frequencies() > 150) & (channel.frequencies() < 6500)

    def distance(wave: np.ndarray) -> float:
        ratio = 10 * np.log10(channel.long_term_spectrum(wave) / wanted)[inside]
        return float(np.std(ratio))

    assert distance(dry) > 2.5
    assert distance(matched) < 1.0
    quiet, floor = (np.percentile(frame_levels(wave), 5) for wave in (matched, reference))
    assert quiet == pytest.approx(floor, abs=2.0)


def test_room_tone_has_the_level_of_the_pauses() -> None:
    wave = speech_like(4.0, floor=3e-3)
    tone = channel.room_tone(wave, RATE, np.random.default_rng(0))
    assert np.sqrt(np.mean(tone**2)) == pytest.approx(3e-3, rel=0.15)


@pytest.mark.parametrize("snr", [28.0, 45.0])
def test_add_noise_keeps_the_ratio_it_is_given(snr: float) -> None:
    wave = speech_like(3.0, floor=0.0)
    noise = channel.add_noise(wave, snr, np.random.default_rng(1)) - wave
    level = 10 * np.log10(np.mean(noise**2))
    assert active_level(wave) - level == pytest.approx(snr, abs=1e-6)
    assert power(noise, 100, 200) / power(noise, 1600, 1700) > 5


@pytest.mark.parametrize("codec", ["vorbis", "opus"])
def test_codecs_keep_length_and_place_but_not_samples(codec: str) -> None:
    wave = channel.to_level(channel.band_limit(speech_like(3.0)))
    coded = encode_decode(wave, codec, **channel.MEDIUM)
    assert coded.size == wave.size
    correlation = signal.correlate(coded, wave, "full")
    assert abs(int(np.argmax(correlation)) - (wave.size - 1)) <= 1
    assert 0.005 < np.sqrt(np.mean((coded - wave) ** 2) / np.mean(wave**2)) < 0.9


@pytest.mark.parametrize("name", channel.CHANNELS)
def test_every_channel_gives_equal_level_no_offset_no_silence_and_quiet_edges(name: str) -> None:
    wave = 0.2 + 5 * speech_like(3.0)
    wave[: RATE // 4] = 0.2
    passed = channel.pass_through(wave, name, np.random.default_rng(3))
    assert passed.size == wave.size
    assert active_level(passed) == pytest.approx(channel.LEVEL, abs=0.1)
    assert abs(passed.mean()) < 1e-5
    assert power(passed, 7600, 8000) < 1e-3 * power(passed, 6000, 6400)
    stored = np.round(passed * 32768)
    zeros = np.flatnonzero(np.diff(np.flatnonzero(stored)) > 30)
    assert zeros.size == 0
    assert np.abs(passed[[0, -1]]).max() < 1e-3


def test_a_channel_is_the_same_for_the_same_seed() -> None:
    wave = speech_like(1.0)
    first, again, other = (
        channel.pass_through(wave, "noise+vorbis", np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4
