"""The condition of a wave: nothing to judge, short, clipped; on noise made by code and on real speech."""

import io

import numpy as np
import pytest
import soxr
from scipy.ndimage import maximum_filter1d

from aasist_jax.audio.condition import CLIPPED_SHARE, clipped_share, condition
from aasist_jax.audio.load import load_audio, to_mono_16k
from aasist_jax.errors import AudioError
from tests.audio.recordings import encoded, voice
from tests.conftest import CORPUS, needs_corpus

STEP = np.float32(1 / 32768)


def speech(clips: int) -> list[np.ndarray]:
    """Real and synthesised speech of every split, at peak 1."""
    files = sorted(CORPUS.glob("ASVspoof2019_LA_*/flac/*.flac"))
    waves = [load_audio(file) for file in files[:: max(1, len(files) // clips)]]
    return [wave / np.abs(wave).max() for wave in waves]


def overdriven(wave: np.ndarray, share: float) -> np.ndarray:
    """Clipped so that this share of the samples is at the limit, which is full scale."""
    level = np.quantile(np.abs(wave), 1 - share)
    return (np.clip(wave, -level, level) / level).astype(np.float32)


def test_silence_and_lines_of_any_level() -> None:
    assert condition(np.zeros(1, np.float32)) == "silent"
    assert condition(np.zeros(20_000, np.float32)) == "silent"
    assert condition(np.full(20_000, STEP)) == "silent"
    assert condition(np.full(20_000, 2 * STEP)) == "constant"
    assert condition(np.full(100, -0.5, np.float32)) == "constant"
    line = np.full(20_000, 0.5, np.float32)
    line[7000:9000] += 2 * STEP
    assert condition(line) == "constant"
    line[7500] += STEP
    assert condition(line) != "constant"


def test_dither_is_silence_and_what_is_louder_is_not() -> None:
    signs = np.sign(voice(1.0)[:, 0]).astype(np.float32)
    assert condition(STEP * signs) == "silent"
    assert condition(np.float32(1.01) * STEP * signs) == "clipped"  # two levels, and nothing between


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 384_000])
@pytest.mark.parametrize(("level", "expected"), [(0.0, "silent"), (0.7, "constant")])
def test_a_line_stays_one_through_resampling(rate: int, level: float, expected: str) -> None:
    assert condition(to_mono_16k(np.full(rate, level, np.float32), rate)) == expected


def test_short_is_less_than_half_a_second() -> None:
    wave = voice(1.0)[:, 0].astype(np.float32)
    assert condition(wave[:7999]) == "short"
    assert condition(wave[:8000]) == "ok"
    assert condition(np.clip(20 * wave[:7999], -1, 1)) == "short"


def test_waves_without_a_condition() -> None:
    with pytest.raises(AudioError, match="without samples"):
        condition(np.zeros(0, np.float32))
    for bad in (np.nan, np.inf, -np.inf):
        wave = np.ones(1000, np.float32)
        wave[500] = bad
        with pytest.raises(AudioError, match="NaN or infinite"):
            condition(wave)


def test_the_share_counts_runs_of_three() -> None:
    wave = np.zeros(1000, np.float32)
    wave[600::3] = 1  # 134 single samples, which set the level
    wave[100:102] = 1  # two in a row: no run
    wave[200:203] = 1
    wave[300:305] = -0.96  # within 5 %
    wave[400:405] = 0.94  # beyond
    wave[500:504] = [1, 1, -1, -1]  # two of either sign
    assert clipped_share(wave) == 8 / 1000


@pytest.mark.parametrize("step", [0, STEP])
def test_a_short_sound_in_silence_is_not_clipped(step: float) -> None:
    wave = np.full(64_600, step, np.float32)
    wave[30_000:30_500] = voice(1.0)[:500, 0]
    assert clipped_share(wave) == 0
    assert condition(wave) == "ok"
    wave[30_000:38_000] = np.clip(20 * voice(1.0)[:8000, 0], -0.5, 0.5)
    assert condition(wave) == "clipped"


def test_the_share_of_a_long_wave_is_that_of_its_parts() -> None:
    wave = overdriven(voice(80.0)[:, 0], 0.3)
    assert wave.size > 1 << 20
    tiled = np.tile(wave[:320_000], 4)
    assert clipped_share(tiled) == pytest.approx(clipped_share(wave[:320_000]), rel=1e-3)


@pytest.mark.reference
@needs_corpus
@pytest.mark.parametrize("clips", [40, pytest.param(1607, marks=pytest.mark.slow)])
def test_real_speech_clipped_on_purpose(clips: int) -> None:
    waves = [wave for wave in speech(clips) if wave.size >= 8000]
    assert len(waves) >= 0.9 * clips

    def caught(share: float, rate: int) -> float:
        """Share of the clips that are found clipped, where the clipping was done at this sample rate."""
        found = []
        for wave in waves:
            clipped = overdriven(soxr.resample(wave, 16_000, rate, "HQ"), share)
            found.append(condition(soxr.resample(clipped, rate, 16_000, "HQ")) == "clipped")
        return float(np.mean(found))

    shares = [clipped_share(wave) for wave in waves]
    print(f"{len(waves)} clips: the largest share as they are {max(shares):.4f}, of {CLIPPED_SHARE} allowed")
    assert max(shares) < CLIPPED_SHARE
    assert all(condition(np.float32(0.01) * wave) == "ok" for wave in waves)
    for rate in (16_000, 44_100):
        rates = [caught(share, rate) for share in (0.01, 0.05, 0.1)]
        print(f"found where 1, 5 and 10 % of the samples were clipped at {rate} Hz: {rates}")
        assert rates[0] == 0
        assert rates[1] > (0.9 if rate == 16_000 else 0.85)
        assert rates[2] > (0.99 if rate == 16_000 else 0.80)
    for kind in ("mp3", "opus"):
        coded = [encoded(0.9 * overdriven(wave, 0.05), kind=kind) for wave in waves[::4]]
        found = np.mean([condition(load_audio(io.BytesIO(data))) == "clipped" for data in coded])
        print(f"found where 5 % of the samples were clipped and the clip then coded as {kind}: {found:.3f}")
        assert found > 0.3


@pytest.mark.reference
@needs_corpus
def test_loud_speech_is_not_clipped() -> None:
    """Speech whose gain follows its envelope, as a broadcaster's compressor has it: loud throughout, peaks intact."""
    for wave in speech(40):
        envelope = np.convolve(
            maximum_filter1d(np.abs(wave), 321), np.hanning(321) / np.hanning(321).sum(), mode="same"
        )
        loud = wave / (envelope + 0.02) ** 0.7
        loud = (loud / np.abs(loud).max()).astype(np.float32)
        assert np.mean(loud**2) > 1.2 * np.mean(wave**2)
        assert condition(loud) == ("ok" if loud.size >= 8000 else "short")
