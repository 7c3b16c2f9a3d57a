"""The facts of a recording: lengths and levels, clipping by its definition, bandwidth, and what they mean."""

from dataclasses import replace

import numpy as np
import pytest
import soxr

from aasist_jax.audio.acoustics import AcousticsMeter
from aasist_jax.audio.condition import CLIPPED_BAND, CLIPPED_SHARE, STEP
from aasist_jax.audio.facts import BLOCK, REASONS, USUAL, SignalFacts, SignalLimits, SignalMeter, reasons
from aasist_jax.audio.load import load_audio
from aasist_jax.corpus.degradations import mu_law
from tests.audio.clipping import clipped_share
from tests.audio.recordings import voice
from tests.conftest import CORPUS, needs_corpus
from tests.made_speech import hiss

FINE = SignalFacts(
    4.0, 3.0, level_dbfs=-26.0, peak=0.5, clipped_share=0.0, bandwidth_hz=7000.0, snr_db=35.0, decay_db=27.0
)


def facts(wave: np.ndarray) -> SignalFacts:
    meter = SignalMeter()
    meter.push(wave)
    return meter.facts(2.0, AcousticsMeter())


def clips(step: int) -> list[np.ndarray]:
    return [load_audio(file) for file in sorted(CORPUS.glob("ASVspoof2019_LA_*/flac/*.flac"))[::step]]


def overdriven(wave: np.ndarray, share: float) -> np.ndarray:
    level = np.quantile(np.abs(wave), 1 - share)
    return np.clip(wave, -level, level)


def test_lengths_and_levels() -> None:
    wave = np.float32(0.25) + np.tile(np.float32([0.5, -0.5]), 50_000)
    found = facts(wave)
    assert (found.seconds, found.speech_seconds, found.peak) == (6.25, 2.0, 0.75)
    assert found.level_dbfs == pytest.approx(20 * np.log10(0.5))
    assert found.bandwidth_hz == 8000
    quiet = facts(np.zeros(1000, np.float32))
    assert quiet == SignalFacts(1000 / 16_000, 2.0, -120.0, 0.0, 0.0, 0.0)
    assert SignalMeter().facts(0.0, AcousticsMeter()) == SignalFacts(0.0, 0.0, -120.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("size", [1, 2, 3, 100, 511, 512, 513, 8000, BLOCK - 1, BLOCK, BLOCK + 1, 200_001])
def test_pieces_make_no_difference(size: int) -> None:
    rng = np.random.default_rng(size)
    wave = overdriven(voice(size / 16_000)[:, 0].astype(np.float32), 0.2)
    expected, meter, at = facts(wave), SignalMeter(), 0
    while at < size:
        to = at + int(rng.integers(1, 9000))
        meter.push(wave[at:to])
        meter.facts(1.0, AcousticsMeter())  # looking on the way changes nothing
        at = to
    assert meter.facts(2.0, AcousticsMeter()) == expected


def test_what_is_pushed_may_be_changed_afterwards() -> None:
    wave = hiss(1.0, -20)
    expected, meter, buffer = facts(wave), SignalMeter(), np.empty(1000, np.float32)
    for start in range(0, wave.size, 1000):
        buffer[:] = wave[start : start + 1000]
        meter.push(buffer)
    assert meter.facts(2.0, AcousticsMeter()) == expected


def test_runs_of_three_are_counted() -> None:
    wave = np.zeros(1000, np.float32)
    wave[600::3] = 1  # 134 single samples, which set the level
    wave[100:102] = 1  # two in a row: no run
    wave[200:203] = 1
    wave[300:305] = -0.96  # within 5 %
    wave[400:405] = 0.94  # beyond
    wave[500:504] = [1, 1, -1, -1]  # two of either sign
    assert facts(wave).clipped_share == clipped_share(wave) == 8 / 1000
    for at in (BLOCK - 3, BLOCK - 2, BLOCK - 1, BLOCK):  # a run across the edge of a block
        long = np.zeros(2 * BLOCK, np.float32)
        long[::40] = 1
        long[at : at + 3] = -1
        assert facts(long).clipped_share == clipped_share(long) > 0
    assert facts(np.tile(np.float32([STEP, STEP, STEP, -STEP]), 1000)).clipped_share == 0


@pytest.mark.parametrize("size", [1, 2, 3, 100, 511, 512, 513, 8000, 200_001])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_the_level_of_clipping_is_rounded_down_a_little(size: int, share: float) -> None:
    wave = overdriven(voice(size / 16_000)[:, 0].astype(np.float32), share)
    found = facts(wave).clipped_share
    assert clipped_share(wave) <= found <= clipped_share(wave, 1 - 0.998 * (1 - CLIPPED_BAND))


@needs_corpus
def test_clipping_of_speech_is_found_as_defined() -> None:
    for wave in clips(40):
        for share in (0.0, 0.05):
            clipped = overdriven(wave, share) if share else wave
            expected = clipped_share(clipped)
            assert facts(clipped).clipped_share == pytest.approx(expected, abs=6e-4)
            if abs(expected - CLIPPED_SHARE) > 6e-4:
                assert ("clipped" in reasons(facts(clipped))) == (expected > CLIPPED_SHARE)


@pytest.mark.parametrize(("rate", "most"), [(8_000, 4_000), (11_025, 5_512), (12_000, 6_000), (16_000, 8_000)])
@pytest.mark.parametrize("seconds", [0.02, 0.3, 12.0])
def test_the_bandwidth_of_noise_is_half_the_rate_that_it_had(rate: int, most: int, seconds: float) -> None:
    wave = soxr.resample(hiss(seconds + 1, -20)[:: 16_000 // rate or 1][: round(seconds * rate)], rate, 16_000)
    assert 0.93 * most - (300 if seconds < 0.1 else 0) <= facts(wave).bandwidth_hz <= most + 125


def test_an_offset_and_rounding_are_no_content() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000)
    rng = np.random.default_rng(0)
    for level in (1.0, 0.01, 1e-4):
        dither = rng.uniform(-0.5, 0.5, (2, tone.size)).sum(axis=0)
        rounded = np.round(level * tone / STEP + dither) * STEP
        assert facts((rounded + 0.3).astype(np.float32)).bandwidth_hz == 1125
    assert facts(np.full(32_000, 0.3, np.float32)).bandwidth_hz == 0


@needs_corpus
@pytest.mark.parametrize("step", [30, pytest.param(1, marks=pytest.mark.slow)])
def test_bandwidths_of_speech(step: int) -> None:
    waves = clips(step)
    wide = np.array([facts(wave).bandwidth_hz for wave in waves])
    telephone = np.array([facts(mu_law(wave.astype(np.float64)).astype(np.float32)).bandwidth_hz for wave in waves])
    voice_notes = [soxr.resample(soxr.resample(wave, 16_000, 11_025), 11_025, 16_000) for wave in waves]
    middle = np.array([facts(wave).bandwidth_hz for wave in voice_notes])
    for name, found in (("as they are", wide), ("G.711", telephone), ("11,025 Hz", middle)):
        spread = ", ".join(f"{value:.0f}" for value in np.quantile(found, [0, 0.01, 0.5, 0.99, 1]))
        print(f"{len(waves)} clips {name}: least, 1 %, median, 99 %, most: {spread} Hz")
    print(f"called band-limited as they are: {np.mean(wide < USUAL.bandwidth_hz):.4f}")
    assert telephone.max() <= 4000
    assert middle.max() <= 5500
    assert np.mean(wide < USUAL.bandwidth_hz) < 0.02


def test_reasons_come_in_their_order() -> None:
    assert reasons(FINE) == ()
    assert reasons(replace(FINE, seconds=0.49)) == ("short",)
    assert reasons(replace(FINE, seconds=0.5, speech_seconds=0.59)) == ("little speech",)
    assert reasons(replace(FINE, speech_seconds=1.0, clipped_share=CLIPPED_SHARE)) == ("clipped",)
    assert reasons(replace(FINE, bandwidth_hz=5875.0)) == ("band-limited",)
    assert reasons(replace(FINE, bandwidth_hz=6000.0)) == ()
    for noisy in ({"snr_db": 19.75}, {"decay_db": 14.0}, {"snr_db": 10.0, "decay_db": 10.0}):
        assert reasons(replace(FINE, **noisy)) == ("noisy or reverberant",)
    assert reasons(replace(FINE, snr_db=20.0, decay_db=14.25)) == ()
    assert reasons(replace(FINE, snr_db=None, decay_db=None)) == ()
    assert reasons(SignalFacts(0.1, 0.0, -20.0, 1.0, 0.5, 3875.0, 10.0, 10.0)) == REASONS
    assert reasons(facts(np.zeros(100, np.float32))) == ("short",)  # no band of silence is limited


def test_limits_of_a_calibration_count_instead_of_the_usual_ones() -> None:
    far = replace(FINE, bandwidth_hz=3900.0, snr_db=12.0, decay_db=9.0)
    assert reasons(far) == ("band-limited", "noisy or reverberant")
    assert reasons(far, SignalLimits(bandwidth_hz=3900.0)) == ("noisy or reverberant",)
    assert reasons(far, SignalLimits(snr_db=12.0)) == ("band-limited", "noisy or reverberant")
    assert reasons(far, SignalLimits(snr_db=12.0, decay_db=9.0)) == ("band-limited",)
    assert reasons(far, SignalLimits(3900.0, 12.0, 9.0)) == ()
