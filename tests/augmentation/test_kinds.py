"""What the other kinds do, by measurement."""

import numpy as np
import pytest
from scipy import signal

from aasist_jax.augmentation import Augmentation, apply
from aasist_jax.augmentation.band_limit import BandLimit
from aasist_jax.augmentation.clipping import Clipping
from aasist_jax.augmentation.equaliser import Equaliser, peak
from aasist_jax.augmentation.frequency_mask import FrequencyMask
from aasist_jax.augmentation.level import Level
from aasist_jax.augmentation.packet_loss import PacketLoss, lost_packets
from aasist_jax.augmentation.pitch import Pitch
from aasist_jax.augmentation.resampling import Resampling
from aasist_jax.augmentation.silence import Silence
from aasist_jax.augmentation.speed import Speed
from aasist_jax.augmentation.splicing import Splicing, splice
from aasist_jax.augmentation.tempo import Tempo
from tests.augmentation.waves import SPEECH, made

RATE = 16_000
NOISE = made("noise", 2 * RATE)


def changed(step: Augmentation, wave: np.ndarray = SPEECH, seed: int = 0) -> np.ndarray:
    return apply(step, wave, np.random.default_rng(seed)).wave


def tone(frequency: float, seconds: float = 2.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def share(wave: np.ndarray, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(wave.size))) ** 2
    frequencies = np.fft.rfftfreq(wave.size, 1 / RATE)
    return float(spectrum[(frequencies >= low) & (frequencies < high)].sum() / spectrum.sum())


def loudest(wave: np.ndarray) -> float:
    """The strongest frequency, in Hz."""
    padded = 1 << 18
    return float(np.abs(np.fft.rfft(wave * np.hanning(wave.size), padded)).argmax() * RATE / padded)


@pytest.mark.parametrize("factor", [0.5, 0.85, 1.0, 1.15, 2.0])
def test_tempo_changes_the_length_and_not_the_pitch(factor: float) -> None:
    heard = changed(Tempo(factor=(factor, factor)), tone(440))
    assert heard.size == round(2 * RATE / factor)
    assert loudest(heard) == pytest.approx(440, abs=1)
    # Level and steadiness of a tone, from the start to the end.
    middle = heard[2000 : heard.size - 2000]
    envelope = np.abs(signal.hilbert(middle))
    np.testing.assert_allclose(envelope[500:-500], 0.5, atol=0.03)


def test_tempo_moves_what_is_heard_in_time() -> None:
    """A burst at 1 s is heard at 1 s divided by the factor."""
    burst = np.zeros(2 * RATE, np.float32)
    burst[RATE : RATE + 1600] = made("noise", 1600)
    for factor in (0.8, 1.25):
        heard = changed(Tempo(factor=(factor, factor)), burst)
        centre = np.sum(np.arange(heard.size) * heard**2) / np.sum(heard**2)
        assert centre / RATE == pytest.approx((RATE + 800) / RATE / factor, abs=0.01)


def test_an_unchanged_tempo_gives_the_wave() -> None:
    np.testing.assert_allclose(changed(Tempo(factor=(1.0, 1.0))), SPEECH, atol=2e-5)


@pytest.mark.parametrize("semitones", [-12.0, -3.0, 4.0])
def test_pitch_changes_the_pitch_and_not_the_length(semitones: float) -> None:
    heard = changed(Pitch(semitones=(semitones, semitones)), tone(440))
    assert heard.size == 2 * RATE
    assert loudest(heard) == pytest.approx(440 * 2 ** (semitones / 12), abs=1)
    assert np.sqrt(np.mean(heard[2000:-2000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_both(factor: float) -> None:
    heard = changed(Speed(factor=(factor, factor)), tone(440))
    assert heard.size == pytest.approx(2 * RATE / factor, abs=1)
    assert loudest(heard) == pytest.approx(440 * factor, abs=1)


def test_resampling_leaves_nothing_above_half_the_rate_but_mirrored_tones() -> None:
    good, poor = (changed(Resampling(rate=(8000.0, 8000.0), quality=(quality,)), NOISE) for quality in ("HQ", "QQ"))
    assert share(good, 4200, 8000) < 1e-4
    assert share(poor, 4200, 8000) > 1e-3
    assert np.corrcoef(good, changed(Resampling(rate=(16_000.0, 16_000.0)), NOISE))[0, 1] > 0.65


def test_a_band_is_limited_at_its_edges() -> None:
    heard = changed(BandLimit(low=(300.0, 300.0), high=(3400.0, 3400.0), order=(6, 6)), NOISE)
    assert share(heard, 300, 3400) > 0.95
    assert share(NOISE, 300, 3400) < 0.45
    with pytest.raises(ValueError, match="high: expected a range above that of low"):
        BandLimit(low=(100.0, 3000.0))


def test_levels() -> None:
    np.testing.assert_allclose(changed(Level(gain=(-6.0, -6.0), inverted=1.0)), -(10**-0.3) * SPEECH, rtol=1e-6)


@pytest.mark.parametrize("shape", ["hard", "soft"])
def test_clipping_limits_a_share_of_the_samples_and_keeps_the_peak(shape: str) -> None:
    heard = changed(Clipping(share=(5.0, 5.0), shape=(shape,)), NOISE)
    peak_before = np.abs(NOISE).max()
    assert np.abs(heard).max() == pytest.approx(peak_before, rel=1e-5)
    at_the_limit = np.mean(np.abs(heard) > 0.9999 * peak_before)
    assert at_the_limit == pytest.approx(0.05, abs=0.001) if shape == "hard" else at_the_limit < 0.001
    assert np.mean(heard**2) > 1.5 * np.mean(NOISE**2)


def test_silence_is_trimmed_and_added() -> None:
    padded = np.pad(SPEECH, (RATE, 2 * RATE))
    trimmed = changed(Silence(way=("trim",)), padded)
    assert SPEECH.size - 3000 < trimmed.size < SPEECH.size + 3000
    added = apply(Silence(way=("add",), floor=(50.0, 50.0)), SPEECH, np.random.default_rng(0))
    before = round(float(added.drawn["before_s"]) * RATE)
    np.testing.assert_array_equal(added.wave[before : before + SPEECH.size], SPEECH)
    assert added.wave.size == SPEECH.size + before + round(float(added.drawn["after_s"]) * RATE)
    assert 0 < np.abs(added.wave[:before]).max() < 0.05 * np.abs(SPEECH).max()
    digital = apply(Silence(way=("add",), floor=(200.0, 200.0)), SPEECH, np.random.default_rng(0)).wave
    assert not digital[:before].any()


def test_a_peak_of_the_equaliser_has_its_gain_and_its_width() -> None:
    frequencies, response = signal.sosfreqz(peak(1000.0, 9.0, 2.0)[np.newaxis], 1 << 15, fs=RATE)
    decibels = 20 * np.log10(np.abs(response))
    assert decibels.max() == pytest.approx(9.0, abs=1e-3)
    assert frequencies[decibels.argmax()] == pytest.approx(1000, abs=1)
    assert abs(decibels[0]) < 1e-3
    # The cookbook's bandwidth is between the points of half the gain in dB; the bilinear transform narrows it a little.
    inside = frequencies[decibels >= 4.5]
    assert inside[-1] - inside[0] == pytest.approx(500, rel=0.05)
    heard = changed(Equaliser(bands=(1, 1), frequency=(1000.0, 1000.0), gain=(-12.0, -12.0), quality=(1.0, 1.0)), NOISE)
    assert share(heard, 950, 1050) / share(heard, 6000, 6100) < 0.1


def test_masked_bands_are_softer_by_their_depth() -> None:
    step = FrequencyMask(bands=(1, 1), width=(800.0, 800.0), frequency=(2000.0, 2800.0), depth=(40.0, 40.0))
    heard = changed(step, NOISE)
    assert 10 * np.log10(share(heard, 2050, 2750) / share(NOISE, 2050, 2750)) == pytest.approx(-39.5, abs=1.5)
    np.testing.assert_allclose(share(heard, 4000, 8000) / share(NOISE, 4000, 8000), 1.1, atol=0.06)


def test_packets_are_lost_as_often_and_as_many_in_a_row_as_said() -> None:
    lost = lost_packets(200_000, 0.1, 3.0, np.random.default_rng(0))
    assert lost.mean() == pytest.approx(0.1, rel=0.05)
    bursts = np.count_nonzero(np.diff(lost.astype(int)) == 1)
    assert lost.sum() / bursts == pytest.approx(3.0, rel=0.05)
    assert not lost_packets(1000, 0.0, 1.0, np.random.default_rng(0)).any()


def test_what_is_heard_in_the_place_of_a_lost_packet() -> None:
    wave = NOISE[: 100 * 320]
    silent, repeated = (
        changed(PacketLoss(loss=(0.2, 0.2), burst=(2.0, 2.0), concealment=(way,)), wave) for way in ("zeros", "repeat")
    )
    packets, before = silent.reshape(-1, 320), wave.reshape(-1, 320)
    lost = ~packets.any(axis=1)
    assert 5 < lost.sum() < 40
    np.testing.assert_array_equal(packets[~lost], before[~lost])
    again = repeated.reshape(-1, 320)
    for number in np.flatnonzero(lost):
        expected = (0.5 if lost[number - 1] else 1.0) * again[number - 1] if number else np.zeros(320)
        np.testing.assert_allclose(again[number], expected, rtol=1e-6)


def test_spliced_pieces_are_those_of_the_wave_in_another_order() -> None:
    wave = np.arange(1.0, 1001.0)
    edges, order = np.array([0, 200, 200, 700, 1000]), np.array([3, 2, 1, 0])
    joined = splice(wave, edges, order, 0)
    np.testing.assert_array_equal(joined, np.concatenate([wave[700:], wave[200:700], wave[:200]]))
    faded = splice(wave, edges, order, 10)
    np.testing.assert_array_equal(faded[310:800], joined[310:800])
    # After the end of the wave, 1000, it goes on backwards while 201 fades in.
    assert faded[300] == pytest.approx(0.95 * 1000 + 0.05 * 201)
    np.testing.assert_array_equal(splice(wave, edges, np.array([0, 1, 2, 3]), 10), wave)
    one_sample = splice(np.ones(1), np.array([0, 0, 1]), np.array([1, 0]), 50)
    np.testing.assert_array_equal(one_sample, np.ones(1))
    assert changed(Splicing(), NOISE).size == NOISE.size
