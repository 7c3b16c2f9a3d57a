"""Streams: any split of the audio gives the scores of the file, in bounded memory."""

import functools
import gc
import tracemalloc
from typing import Any

import jax
import numpy as np
import pytest
import soundfile
import soxr

from aasist_jax.detection.detector import Detector
from aasist_jax.detection.stream import _hop
from aasist_jax.detection.timeline import WindowScore
from aasist_jax.errors import AudioError, ConfigError
from aasist_jax.weights.folder import Source, Weights
from tests.made_speech import made_speech
from tests.models import toy
from tests.models.aasist import official
from tests.models.aasist.tiny import CONFIG, SAMPLES, random_variables

STRIDE = 2187


pytestmark = pytest.mark.usefixtures("toy_family", "quickly_compiled")


@functools.cache
def tiny_detector() -> Detector:
    variables = jax.tree.map(np.asarray, random_variables())
    # Random weights make large numbers: logits of about 1 are wanted.
    params = variables["params"] | {"out_layer": {k: v / 1e5 for k, v in variables["params"]["out_layer"].items()}}
    return Detector(Weights(CONFIG, variables | {"params": params}, Source("tiny.pth", "0"), "tiny-0123", "0123"))


def detector(name: str) -> Detector:
    return Detector(toy.toy_weights()) if name == "toy" else tiny_detector()


def sound(samples: int) -> np.ndarray:
    """Speech that is louder and fainter by turns."""
    rng = np.random.default_rng(2)
    gain = np.repeat(rng.choice([0.003, 0.3, 1.0], samples // 8000 + 1), 8000)[:samples]
    return (made_speech(samples / 16_000) * gain).astype(np.float32)


def streamed(detector: Detector, wave: np.ndarray, seed: int, rate: int = 16_000, **options: Any) -> list[WindowScore]:
    """Push at random cuts: many tiny chunks, few large ones, empty ones."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, len(wave) + 1, int(10 ** rng.uniform(0, 2.5))))
    stream = detector.stream(rate, **options)
    windows = [window for chunk in np.split(wave, cuts) for window in stream.push(chunk)]
    return windows + stream.finish()


def assert_same(found: list[WindowScore], expected: tuple[WindowScore, ...], tolerance: float) -> None:
    assert [(w.start, w.end, w.status) for w in found] == [(w.start, w.end, w.status) for w in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.logits is None) == (other.logits is None)
        if one.logits is not None and other.logits is not None:
            np.testing.assert_allclose(one.logits, other.logits, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tiny", {}),
        ("tiny", {"hop": 0.2}),
        ("tiny", {"exact": True, "hop": 0.1}),
        ("toy", {"hop": 0.1}),
    ],
)
@pytest.mark.parametrize("samples", [90_000, 8 * STRIDE + SAMPLES, 3000])
def test_any_split_gives_the_scores_of_the_file(name: str, options: dict[str, Any], samples: int) -> None:
    model, wave = detector(name), sound(samples)
    whole = model.timeline((wave, 16_000), **options)
    assert whole.exact == (name == "toy" or "hop" not in options or "exact" in options)
    assert len(whole.windows) > 1 or samples == 3000
    for seed in range(3):
        assert_same(streamed(model, wave, seed, **options), whole.windows, 1e-5)


def test_the_verdict_is_that_of_its_windows_whatever_the_hop() -> None:
    """To the bit; a finer hop adds windows to look at and changes nothing."""
    model, wave = tiny_detector(), sound(60_000)
    plain = model.timeline((wave, 16_000))
    assert plain.windows == plain.score.windows
    assert (plain.window, plain.hop, plain.exact) == (SAMPLES / 16_000, SAMPLES / 16_000, True)
    for options in ({"hop": 0.1}, {"hop": 0.1, "exact": True}, {"hop": 0.15}):
        fine = model.timeline((wave, 16_000), **options)
        assert fine.score == plain.score
        assert len(fine.windows) > len(plain.windows)


@pytest.mark.reference
@pytest.mark.slow
def test_200_splits_of_speech_with_the_official_weights() -> None:
    """One second over two windows of a synthetic sentence and noise, one score each 0.137 s."""
    model = official.detector("AASIST-L")
    clips = official.golden("AASIST-L").wave.astype(np.float32)
    wave = np.concatenate([clips[-1], clips[0], clips[-1]])[: 2 * 64_600 + 16_000]
    whole = model.timeline((wave, 16_000), hop=STRIDE / 16_000)
    assert len(whole.windows) == 37
    worst = 0.0
    for seed in range(200):
        found = streamed(model, wave, seed, hop=STRIDE / 16_000)
        assert_same(found, whole.windows, 1e-5)
        differences = [
            np.subtract(f.logits, w.logits) for f, w in zip(found, whole.windows, strict=True) if w.logits is not None
        ]
        worst = max(worst, float(np.abs(differences).max()))
    print(f"200 random splits against the file: logits differ by at most {worst:.1e}")


def test_a_file_and_its_samples_have_the_same_timeline(tmp_path: Any) -> None:
    wave = sound(60_000)
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    assert tiny_detector().timeline(tmp_path / "a.wav") == tiny_detector().timeline((wave, 16_000))


@pytest.mark.parametrize("name", ["tiny", "toy"])
def test_other_rates_and_channels_are_resampled_and_averaged(name: str) -> None:
    model, stereo = detector(name), np.stack([sound(100_000), sound(100_000)[::-1]], axis=1)
    wave = soxr.resample(stereo.mean(axis=1), 44_100, 16_000, "HQ")
    expected = model.timeline((wave, 16_000), hop=0.2).windows
    assert_same(streamed(model, stereo, 0, 44_100, hop=0.2), expected, 2e-4)
    whole = model.stream(44_100, hop=0.2)
    assert_same(streamed(model, stereo, 1, 44_100, hop=0.2), (*whole.push(stereo), *whole.finish()), 1e-5)


def test_whole_numbers_are_scaled() -> None:
    wave = (sound(30_000) * 20_000).astype(np.int16)
    assert_same(streamed(tiny_detector(), wave, 0), tiny_detector().timeline((wave, 16_000)).windows, 1e-5)


def test_a_score_comes_as_soon_as_its_right_context() -> None:
    """The window from frame k is scored once its two frames, the one behind them and the tail have come."""
    model, wave = tiny_detector(), sound(40_000)
    stream, arrival = model.stream(hop=STRIDE / 16_000), {}
    for i in range(0, wave.size, 50):
        for window in stream.push(wave[i : i + 50]):
            arrival[round(window.start * 16_000)] = i + 50
    width = CONFIG.frames(SAMPLES)
    assert len(arrival) > 10
    for start, samples in arrival.items():
        needed = start + (width + 1) * STRIDE + 8
        assert needed <= samples < needed + 50


@pytest.mark.parametrize(("name", "minutes"), [("tiny", 1), pytest.param("tiny", 60, marks=pytest.mark.slow)])
def test_memory_stays_bounded(name: str, minutes: int) -> None:
    """Half-second chunks: what the stream holds after the whole is what it held after a twelfth of it."""
    model, chunk = detector(name), sound(8000)
    stream = model.stream(hop=0.2)
    sizes = []
    tracemalloc.start()
    try:
        for i in range(120 * minutes):
            stream.push(chunk)
            if i in (10 * minutes, 120 * minutes - 1):
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    print(f"{minutes} min pushed: {sizes[0]} bytes held after a twelfth, {sizes[1]} at the end")
    assert stream.seconds == 60 * minutes
    # Of each window a few numbers are kept, which the result lists; of the samples, none.
    kept = len(stream._fine_windows) + len(stream._cuts)
    assert sizes[1] - sizes[0] < 30_000 + 1_000 * kept
    assert 1_000 * kept < 0.25 * 4 * 16_000 * 60 * minutes


@pytest.mark.parametrize("hop", [None, 0.1])
def test_silence_is_not_judged(hop: float | None) -> None:
    model = tiny_detector()
    wave = np.concatenate([made_speech(30_000 / 16_000), np.zeros(30_000, np.float32)])
    timeline = model.timeline((wave, 16_000), hop=hop)
    statuses = [window.status for window in timeline.windows]
    assert (statuses[0], statuses[-1]) == ("ok", "silent")
    for window in timeline.windows:
        # A chunk that the border cuts is not all silent.
        assert (window.status == "silent") == (window.start * 16_000 > 30_000 - 2 * 512)
        assert (window.logits is None) == (window.status in ("silent", "no speech"))
    assert timeline.segments[-1].label == "unheard"
    silent = model.timeline((np.zeros(40_000, np.float32), 16_000), hop=hop)
    assert (silent.verdict.label, silent.score.score) == ("unsure", None)
    assert silent.verdict.reasons == ("uncalibrated", "silent")


@pytest.mark.parametrize("samples", [200, 30_000])
def test_what_a_score_calls_silent_is_silent_over_time(samples: int) -> None:
    """A step of 16 bits to either side, and recordings of less than a chunk."""
    model, dither = tiny_detector(), np.resize(np.float32([0, 1, 0, -1]) / 32768, samples)
    assert model.score((dither, 16_000)).status == "silent"
    timeline = model.timeline((dither, 16_000))
    assert {(window.status, window.score) for window in timeline.windows} == {("silent", None)}


@pytest.mark.parametrize("exact", [False, True])
def test_samples_too_large_are_an_error(exact: bool) -> None:
    signs = np.random.default_rng(0).choice(np.float32([-3.4e38, 3.4e38]), 20_000)
    with pytest.raises(AudioError, match=r"samples up to 3.4e\+38; scale them to"):
        tiny_detector().stream(8000, exact=exact).push(signs)


@pytest.mark.parametrize("hop", [None, 0.1])
def test_noise_is_not_judged(hop: float | None) -> None:
    wave = (np.random.default_rng(0).normal(size=80_000) * 1e-3).astype(np.float32)
    timeline = tiny_detector().timeline((wave, 16_000), hop=hop)
    assert {(window.status, window.logits) for window in timeline.windows} == {("no speech", None)}
    assert [(segment.label, segment.start, segment.end) for segment in timeline.segments] == [("unheard", 0.0, 5.0)]
    assert timeline.score.heard_seconds == 0


@pytest.mark.parametrize("hop", [None, 0.1])
def test_a_short_recording_is_scored_as_the_detector_does(hop: float | None) -> None:
    model, wave = tiny_detector(), made_speech(2000 / 16_000)
    timeline = model.timeline((wave, 16_000), hop=hop)
    score = model.score((wave, 16_000))
    assert timeline.score == score
    (window,) = timeline.windows
    assert (window.logits, window.status) == (score.logits, "short")
    assert (timeline.segments[0].start, timeline.segments[0].end) == (0, 2000 / 16_000)


def test_a_result_can_be_asked_for_on_the_way() -> None:
    """It is that of what was heard so far, and asking changes nothing; samples that no window has yet are not heard."""
    model, wave = tiny_detector(), made_speech(2.0)
    model.calibration = None
    stream = model.stream()
    for piece in np.array_split(wave, 9):
        stream.push(piece)
        whole = stream.seconds * 16_000 // SAMPLES * SAMPLES
        assert stream.result().heard_seconds == whole / 16_000
        assert stream.result().seconds == stream.seconds
    stream.finish()
    assert stream.result() == model.score((wave, 16_000))
    empty = model.stream().result()
    assert (empty.label, empty.seconds, empty.windows) == ("unsure", 0.0, ())


@pytest.mark.parametrize("hop", [0.0, -1.0, float("nan"), 5.0])
def test_a_hop_out_of_range_is_refused(hop: float) -> None:
    with pytest.raises(ConfigError, match="hop: expected more than 0 and at most a window"):
        tiny_detector().stream(hop=hop)


def test_wrong_input_is_one_clear_error() -> None:
    stream = tiny_detector().stream()
    assert stream.push([]) == []
    with pytest.raises(AudioError, match="NaN or infinite"):
        stream.push(np.array([0.0, np.nan], np.float32))
    with pytest.raises(AudioError, match="type bool"):
        stream.push(np.array([True, False]))
    assert stream.finish() == []
    assert stream.finish() == []
    with pytest.raises(AudioError, match="finished"):
        stream.push(sound(100))
    with pytest.raises(AudioError, match="3999 Hz"):
        tiny_detector().stream(3999)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("bad", [1e38, -2e6, np.nan])
def test_a_chunk_that_is_refused_leaves_the_stream_as_it_was(rate: int, bad: float) -> None:
    wave, model = sound(3 * rate), detector("toy")
    stream = model.stream(rate)
    windows = stream.push(wave[:rate])
    with pytest.raises(AudioError, match=r"scale them|NaN"):
        stream.push(np.full(1000, bad, np.float32))
    windows += stream.push(wave[rate:]) + stream.finish()
    assert_same(windows, model.timeline((wave, rate)).windows, 2e-4)
    assert stream.result().seconds == pytest.approx(wave.size / rate, abs=1e-4)


@pytest.mark.parametrize("hop", ["a", True, [1]])
def test_a_hop_that_is_no_number_is_refused_in_a_line(hop: Any) -> None:
    with pytest.raises(ConfigError, match="hop: expected seconds"):
        _hop(hop, 1, 16_000)
