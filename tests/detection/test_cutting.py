"""Windows of a recording, what is not heard of it, and its condition; on sounds made by code and on real speech."""

import gc
import io
import tracemalloc

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter1d

from aasist_jax.audio.acoustics import AcousticsMeter
from aasist_jax.audio.condition import CLIPPED_SHARE, Condition
from aasist_jax.audio.facts import BLOCK, SignalMeter
from aasist_jax.audio.load import load_audio, to_mono_16k
from aasist_jax.audio.windows import first_window, window_starts
from aasist_jax.detection.cutting import KEPT, NOT_HEARD, Cut, Cutter
from aasist_jax.models.family import Window
from tests.audio.clipping import overdriven
from tests.audio.recordings import encoded, voice
from tests.conftest import CORPUS, needs_corpus
from tests.made_speech import hiss, made_speech

SIZE = 4000
STEP = np.float32(1 / 32768)


def cut(wave: np.ndarray, rule: Window | None = None, chunks: list[int] | None = None) -> tuple[Cutter, list[Cut]]:
    """A cutter that took the wave, in pieces that end at `chunks`, and its windows."""
    cutter = Cutter(rule or Window(SIZE, 100))
    cuts = [found for piece in np.split(wave, chunks or []) for found in cutter.push(piece)]
    return cutter, cuts + cutter.finish()


def condition(wave: np.ndarray, *, is_damaged: bool = False) -> Condition:
    cutter, _ = cut(wave, Window(64_600, 2315))
    return cutter.condition(cutter.facts(), is_damaged=is_damaged)


@pytest.mark.parametrize("samples", [600, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE, 2 * SIZE + 1, 7 * SIZE - 1, 30_000])
def test_windows_lie_end_to_end_and_the_last_one_ends_with_the_recording(samples: int) -> None:
    wave = made_speech(3.0)[1000 : 1000 + samples]
    _, cuts = cut(wave)
    assert [each.start for each in cuts] == window_starts(samples, SIZE)
    assert [each.end for each in cuts] == [min(start + SIZE, samples) for start in window_starts(samples, SIZE)]
    for each in cuts:
        assert each.status == ("short" if samples < SIZE else "ok")
        assert each.length is None
        np.testing.assert_array_equal(each.wave, first_window(wave[each.start :], SIZE))


@pytest.mark.parametrize("samples", [600, 1000, 3000, SIZE, 9000])
def test_a_model_of_any_length_hears_how_long_a_short_recording_is(samples: int) -> None:
    wave = made_speech(3.0)[1000 : 1000 + samples]
    _, cuts = cut(wave, Window(SIZE, shortest=1000, fixed=False))
    assert [each.length for each in cuts] == [min(max(samples, 1000), SIZE)] * len(cuts)
    padded = np.pad(wave, (0, max(SIZE - samples, 0)))
    for each in cuts:
        np.testing.assert_array_equal(each.wave, padded[each.start : each.start + SIZE])


def test_no_samples_are_no_window() -> None:
    cutter, cuts = cut(np.zeros(0, np.float32))
    assert (cuts, cutter.samples) == ([], 0)
    assert cutter.facts() == SignalMeter().facts(0.0, AcousticsMeter())


def test_windows_without_speech_are_cut_and_not_heard() -> None:
    speech = made_speech(1.5)
    wave = np.concatenate([speech, np.zeros(24_000, np.float32), hiss(1.5, -30), speech])
    _, cuts = cut(wave)
    assert [each.start for each in cuts] == window_starts(wave.size, SIZE)
    statuses = [each.status for each in cuts]
    assert statuses[:6] == ["ok"] * 6
    assert statuses[7:12] == ["silent"] * 5
    assert statuses[13:17] == ["no speech"] * 4
    assert statuses[-5:] == ["ok"] * 5
    assert all((each.wave is None) == (each.status in NOT_HEARD) for each in cuts)


def recording(rng: np.random.Generator) -> np.ndarray:
    """Speech, silence, noise and lines, of any length, even none."""
    parts = []
    for _ in range(int(rng.integers(1, 5))):
        size, sounds = (
            int(rng.choice([320, 3200, 11_200]) * rng.uniform(0.1, 1)),
            made_speech(0.7, int(rng.integers(4))),
        )
        silence, line = np.zeros(size, np.float32), np.full(size, 0.2, np.float32)
        kinds = (sounds[:size], np.clip(10 * sounds[:size], -0.5, 0.5), silence, line, hiss(0.7, -30)[:size])
        parts.append(kinds[int(rng.integers(len(kinds)))])
    return np.concatenate(parts)


@pytest.mark.parametrize("examples", [15, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_how_a_recording_arrives_makes_no_difference(examples: int) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(st.integers(0, 1 << 32), st.lists(st.integers(0, 50_000), max_size=30))
    def property(seed: int, ends: list[int]) -> None:
        wave = recording(np.random.default_rng(seed))
        chunks = sorted(min(end, wave.size) for end in ends)
        (whole, expected), (pieces, found) = cut(wave), cut(wave, chunks=chunks)
        assert [(each.start, each.end, each.status, each.length) for each in found] == [
            (each.start, each.end, each.status, each.length) for each in expected
        ]
        for one, other in zip(found, expected, strict=True):
            assert (one.wave is None) == (other.wave is None)
            assert one.wave is None or other.wave is None or np.array_equal(one.wave, other.wave)
        assert pieces.facts() == whole.facts()
        for is_damaged in (False, True):
            assert pieces.condition(pieces.facts(), is_damaged=is_damaged) == whole.condition(
                whole.facts(), is_damaged=is_damaged
            )

    property()


def test_looking_on_the_way_changes_nothing() -> None:
    wave = made_speech(2.0)
    _, expected = cut(wave)
    cutter, found = Cutter(Window(SIZE, 100)), []
    for piece in np.array_split(wave, 70):
        found += cutter.push(piece)
        cutter.condition(cutter.facts(), is_damaged=False)
        cutter.activity(max(cutter.samples - SIZE, 0), cutter.samples)
    found += cutter.finish()
    assert [(each.start, each.status) for each in found] == [(each.start, each.status) for each in expected]
    assert cutter.facts() == cut(wave)[0].facts()


@pytest.mark.parametrize("seconds", [80, pytest.param(3600, marks=pytest.mark.slow)])
def test_memory_stays_bounded(seconds: int) -> None:
    """What the cutter holds does not grow: a window, what waits to be measured, and which chunks were speech."""
    cutter, chunk, sizes = Cutter(Window(SIZE, 100)), made_speech(1.0), []
    tracemalloc.start()
    try:
        for i in range(1, seconds + 1):
            cutter.push(chunk)
            if i in (seconds // 2, seconds):
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    print(f"{seconds} s cut: {sizes[0]} bytes held half-way, {sizes[1]} at the end")
    assert seconds // 2 * 16_000 > KEPT
    # Up to four seconds wait to be measured.
    assert max(sizes) < 2e6
    assert sizes[1] - sizes[0] < 4 * BLOCK + 30_000


# The condition.


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


@pytest.mark.parametrize("at", [0, 319, 320, 10_000, 19_679, 19_680, 19_999])
def test_both_ends_of_a_line_do_not_count(at: int) -> None:
    line = np.full(20_000, 0.5, np.float32)
    line[at] = 0.6
    # A line with one peak dwells at its level, which is to be clipped.
    expected = "constant" if at < 320 or at >= 20_000 - 320 else "clipped"
    assert condition(line) == expected
    # Of a recording of less than 80 ms, all counts.
    assert condition(line[at - at % 1000 : at - at % 1000 + 1000]) == "short"


def test_short_is_less_than_half_a_second() -> None:
    wave = voice(1.0)[:, 0].astype(np.float32)
    assert condition(wave[:7999]) == "short"
    assert condition(wave[:8000]) == "ok"
    assert condition(np.clip(20 * wave[:7999], -1, 1)) == "short"


def test_damage_comes_after_silence_and_before_what_is_short_or_clipped() -> None:
    wave = voice(1.0)[:, 0].astype(np.float32)
    assert condition(wave, is_damaged=True) == "damaged"
    assert condition(wave[:1000], is_damaged=True) == "damaged"
    assert condition(np.clip(20 * wave, -1, 1), is_damaged=True) == "damaged"
    assert condition(0 * wave, is_damaged=True) == "silent"
    assert condition(0 * wave + 1, is_damaged=True) == "constant"


@pytest.mark.parametrize("step", [0, STEP])
def test_a_short_sound_in_silence_is_not_clipped(step: float) -> None:
    wave = np.full(64_600, step, np.float32)
    wave[30_000:30_500] = voice(1.0)[:500, 0]
    assert condition(wave) == "ok"
    wave[30_000:38_000] = np.clip(20 * voice(1.0)[:8000, 0], -0.5, 0.5)
    assert condition(wave) == "clipped"


def speech(clips: int) -> list[np.ndarray]:
    """Real and synthesised speech of every split, at peak 1."""
    files = sorted(CORPUS.glob("ASVspoof2019_LA_*/flac/*.flac"))
    waves = [load_audio(file) for file in files[:: max(1, len(files) // clips)]]
    return [wave / np.abs(wave).max() for wave in waves]


def share(wave: np.ndarray) -> float:
    meter = SignalMeter()
    meter.push(wave)
    return meter.facts(0.0, AcousticsMeter()).clipped_share


@pytest.mark.reference
@needs_corpus
@pytest.mark.parametrize("clips", [40, pytest.param(1607, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_real_speech_clipped_on_purpose(clips: int) -> None:
    waves = [wave for wave in speech(clips) if wave.size >= 8000]
    assert len(waves) >= 0.9 * clips

    def caught(part: float, rate: int) -> float:
        """Share of the clips that are found clipped, where the clipping was done at this sample rate."""
        found = []
        for wave in waves:
            clipped = overdriven(soxr.resample(wave, 16_000, rate, "HQ"), part)
            found.append(share(soxr.resample(clipped, rate, 16_000, "HQ")) >= CLIPPED_SHARE)
        return float(np.mean(found))

    shares = [share(wave) for wave in waves]
    print(f"{len(waves)} clips: the largest share as they are {max(shares):.4f}, of {CLIPPED_SHARE} allowed")
    assert max(shares) < CLIPPED_SHARE
    assert all(share(np.float32(0.01) * wave) < CLIPPED_SHARE for wave in waves)
    for rate in (16_000, 44_100):
        rates = [caught(part, rate) for part in (0.01, 0.05, 0.1)]
        print(f"found where 1, 5 and 10 % of the samples were clipped at {rate} Hz: {rates}")
        assert rates[0] == 0
        assert rates[1] > (0.9 if rate == 16_000 else 0.85)
        assert rates[2] > (0.99 if rate == 16_000 else 0.80)
    for kind in ("mp3", "opus"):
        coded = [encoded(0.9 * overdriven(wave, 0.05), kind=kind) for wave in waves[::4]]
        found = np.mean([share(load_audio(io.BytesIO(data))) >= CLIPPED_SHARE for data in coded])
        print(f"found where 5 % of the samples were clipped and the clip then coded as {kind}: {found:.3f}")
        assert found > 0.3


@pytest.mark.reference
@needs_corpus
def test_real_speech_is_in_order_and_is_found_where_it_is_clipped() -> None:
    for wave in speech(12):
        expected = "ok" if wave.size >= 8000 else "short"
        assert condition(wave) == expected
        assert condition(overdriven(wave, 0.2)) == ("clipped" if expected == "ok" else "short")


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
        assert share(loud) < CLIPPED_SHARE
