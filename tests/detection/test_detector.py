"""The Detector: the whole recording or the published rule, frozen results, no silent number for wrong input."""

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import soxr

from aasist_jax.audio.load import load_audio
from aasist_jax.audio.windows import window_starts
from aasist_jax.calibration.evidence import recording_llr
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.verdict import DecisionRule, judge
from aasist_jax.errors import AudioError, ConfigError, WeightsError
from tests.conftest import REPOSITORY
from tests.made_calibration import made_calibration
from tests.made_speech import made_speech
from tests.models.aasist import official
from tests.models.toy import WIDTH, WINDOW, save_toy, toy_weights

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(toy_weights())


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two and a half windows and a bit."""
    return made_speech(11_000 / 16_000)


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """As much speech as a verdict needs."""
    return made_speech(1.6)


def test_logits_are_one_row_a_wave(detector: Detector, speech: np.ndarray) -> None:
    waves = np.stack([np.roll(speech, 17 * i)[:WINDOW] for i in range(11)])
    logits = detector.logits(waves)
    assert isinstance(logits, np.ndarray)
    assert (logits.shape, logits.dtype) == ((11, 2), np.float32)
    # Those in hand at once do not disturb each other.
    np.testing.assert_array_equal(logits, np.concatenate([detector.logits(w[None]) for w in waves]))
    assert detector.logits(np.zeros((0, WINDOW), np.float32)).shape == (0, 2)
    assert detector.logits(waves[:, :WIDTH]).shape == (11, 2)


def test_the_published_score_is_the_bona_fide_logit_of_the_first_window(detector: Detector, speech: np.ndarray) -> None:
    result = detector.score((speech, 16_000), published=True)
    spoof, bonafide = map(float, detector.logits(speech[None, :WINDOW])[0])
    assert result.logits == (spoof, bonafide)
    assert result.score == bonafide
    # Neither a verdict nor anything that follows from one.
    assert result.verdict is result.label is result.llr is result.p_synthetic is None
    assert result.reasons == result.segments == ()
    assert (result.seconds, result.status, result.weights_id) == (11_000 / 16_000, "ok", "toy-0123")
    assert detector.window == WINDOW
    # What follows the first window has no say, and that it was not heard is told.
    assert result.heard_seconds == WINDOW / 16_000
    assert [(window.start, window.end) for window in result.windows] == [(0.0, WINDOW / 16_000)]
    shorter = detector.score((speech[:8000], 16_000), published=True)
    assert (shorter.logits, shorter.windows) == (result.logits, result.windows)


def test_the_published_score_hears_what_is_no_speech(detector: Detector) -> None:
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, 5000).astype(np.float32)
    assert detector.score((wave, 16_000)).logits is None
    assert detector.score((wave, 16_000), published=True).logits == tuple(detector.logits(wave[None, :WINDOW])[0])


def test_a_short_clip_is_repeated_to_fill_the_window(detector: Detector, speech: np.ndarray) -> None:
    clip = speech[:1500]
    filled = np.concatenate([clip, clip, clip[:1000]])
    expected = tuple(map(float, detector.logits(filled[None])[0]))
    for is_published in (True, False):
        result = detector.score((clip, 16_000), published=is_published)
        assert (result.logits, result.status) == (expected, "short")
        assert detector.score((speech[:7999], 16_000), published=is_published).status == "short"
        assert detector.score((speech[:8000], 16_000), published=is_published).status == "ok"


def test_the_whole_recording_is_heard(detector: Detector, speech: np.ndarray) -> None:
    result = detector.score((speech, 16_000))
    # The third window is aligned to the end, and overlaps the second.
    logits = detector.logits(np.stack([speech[:4000], speech[4000:8000], speech[7000:]]))
    assert [window.logits for window in result.windows] == [tuple(map(float, row)) for row in logits]
    assert [(window.start, window.end) for window in result.windows] == [(0, 0.25), (0.25, 0.5), (0.4375, 0.6875)]
    assert result.logits == tuple(logits.mean(axis=0, dtype=np.float64))
    assert result.score == result.logits[1]
    assert result.heard_seconds == result.seconds == 0.6875
    # More windows than are in hand at once.
    long = np.tile(speech, 8)[: 20 * WINDOW + 100]
    starts = [*range(0, 20 * WINDOW, WINDOW), 20 * WINDOW + 100 - WINDOW]
    many = detector.score((long, 16_000))
    expected = detector.logits(np.stack([long[start : start + WINDOW] for start in starts]))
    np.testing.assert_array_equal([window.logits for window in many.windows], expected)


def test_what_is_no_speech_is_not_heard(detector: Detector, speech: np.ndarray) -> None:
    pause, hiss = np.zeros(8000, np.float32), np.random.default_rng(0).normal(0, 0.01, 8000).astype(np.float32)
    result = detector.score((np.concatenate([speech[:8000], pause, hiss, speech[:8000]]), 16_000))
    assert [window.status for window in result.windows] == ["ok"] * 2 + ["silent"] * 2 + ["no speech"] * 2 + ["ok"] * 2
    assert [window.logits is None for window in result.windows] == [False] * 2 + [True] * 4 + [False] * 2
    assert (result.seconds, result.heard_seconds) == (2.0, 1.0)
    assert 0.5 < result.speech_seconds < 1.1
    heard = [window.logits for window in result.windows if window.logits is not None]
    assert result.logits == tuple(np.mean(heard, axis=0))
    assert [segment.label for segment in result.segments] == ["unsure", "unheard", "unsure"]
    only_hiss = detector.score((hiss, 16_000))
    assert (only_hiss.label, only_hiss.score, only_hiss.heard_seconds) == ("unsure", None, 0.0)
    assert "no speech" in only_hiss.reasons


def calibrated(slope: float = 1.0, offset: float = 0.0) -> Detector:
    detector = Detector(toy_weights())
    return Detector(toy_weights(), calibration=made_calibration(detector, slope, offset))


def test_the_verdict_rests_on_the_calibrated_windows(talk: np.ndarray) -> None:
    for slope, offset in ((20.0, -5.0), (5.0, 3.0), (30.0, -25.0)):
        detector = calibrated(slope, offset)
        result = detector.score((talk, 16_000), rule=DecisionRule(0.2, 0.8))
        llrs = [slope * window.score + offset for window in result.windows if window.score is not None]
        assert [window.llr for window in result.windows] == pytest.approx(llrs, rel=1e-12)
        assert result.verdict == judge(np.array([window.llr for window in result.windows]), DecisionRule(0.2, 0.8))
        assert result.llr == recording_llr(np.array([window.llr for window in result.windows]))
        assert result.model_id == detector.model_id == f"toy-0123+{detector.calibration.calibration_id}"
    assert {calibrated(1.0, offset).score((talk, 16_000)).label for offset in (9.0, 0.0, -9.0)} == {
        *("human", "unsure", "synthetic")
    }


def test_without_a_calibration_nothing_is_sure(detector: Detector, talk: np.ndarray) -> None:
    result = detector.score((talk, 16_000))
    assert (result.label, result.reasons, result.llr, result.p_synthetic) == ("unsure", ("uncalibrated",), None, None)
    assert result.model_id == result.weights_id == "toy-0123"
    assert result.score is not None


def test_a_recording_unlike_the_calibration_set_is_unsure(talk: np.ndarray) -> None:
    detector = calibrated(1.0, 9.0)
    assert detector.score((talk, 16_000)).label == "human"
    assert detector.calibration is not None
    starts = window_starts(talk.size, WINDOW)
    values = detector.batch_read_out(np.stack([talk[start : start + WINDOW] for start in starts]))
    distance = detector.calibration.domain.distances(values[:, 2:].astype(np.float64)).mean()
    for farthest, is_far in ((distance, False), (np.nextafter(distance, 0), True)):
        domain = dataclasses.replace(detector.calibration.domain, farthest=float(farthest))
        detector.calibration = dataclasses.replace(detector.calibration, domain=domain)
        result = detector.score((talk, 16_000))
        assert (result.label, result.llr is None) == (("unsure", True) if is_far else ("human", False))
        assert result.reasons == (("unlike anything it was calibrated on",) if is_far else ())


def test_a_calibration_of_other_weights_or_another_rule_is_refused() -> None:
    calibration = made_calibration(Detector(toy_weights()))
    for change, complaint in (
        ({"weights_id": "other-4567"}, "it was fitted on the weights other-4567, not toy-0123; calibrate again with"),
        ({"rule": "another"}, r"it is for another score \(another\); calibrate again with `aasist-jax calibrate`"),
    ):
        with pytest.raises(WeightsError, match=f"^toy-0123: {complaint}"):
            Detector(toy_weights(), calibration=dataclasses.replace(calibration, **change))


def test_results_and_weights_are_frozen(detector: Detector, speech: np.ndarray) -> None:
    result = detector.score((speech, 16_000))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.score = 3.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        detector.weights.weights_id = "x"
    assert hash(result) == hash(detector.score((speech, 16_000)))
    json.dumps(dataclasses.asdict(result), allow_nan=False)


def test_a_file_an_array_and_a_stream_score_alike(detector: Detector, speech: np.ndarray, tmp_path: Path) -> None:
    pcm = np.round(speech * 32_000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", pcm, 16_000)
    expected = detector.score(tmp_path / "a.wav")
    assert detector.score(str(tmp_path / "a.wav")) == expected
    assert detector.score((pcm, 16_000)) == expected
    assert detector.score((pcm, np.int64(16_000))) == expected
    assert detector.score((pcm / np.float64(32768), 16_000)) == expected
    assert detector.score((jnp.asarray(pcm), 16_000)) == expected
    content = (tmp_path / "a.wav").read_bytes()
    assert detector.score(io.BytesIO(content)) == expected
    # Bytes (`d.score(open(f, "rb").read())`) are scored.
    for form in (bytes, bytearray, memoryview):
        assert detector.score(form(content)) == expected
    assert detector.timeline(content) == detector.timeline(tmp_path / "a.wav")


def test_a_stereo_recording_at_44100_hz_is_mixed_and_resampled(detector: Detector, tmp_path: Path) -> None:
    stereo = np.stack([soxr.resample(made_speech(1.0, seed), 16_000, 44_100) for seed in (0, 2)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 44_100, subtype="FLOAT")
    result = detector.score(tmp_path / "stereo.wav")
    assert result.seconds == pytest.approx(1, abs=1e-3)
    assert result.status == "ok"
    mono = soxr.resample(stereo.mean(1).astype(np.float32), 44_100, 16_000, "HQ")
    np.testing.assert_allclose(result.logits, detector.score((mono, 16_000)).logits, rtol=1e-4)
    assert detector.score((stereo.astype(np.float32), 44_100)).logits == pytest.approx(result.logits, rel=1e-5)


@pytest.mark.parametrize("is_published", [True, False])
@pytest.mark.parametrize(("level", "status"), [(0.0, "silent"), (0.25, "constant")])
def test_digital_silence_and_a_constant_are_told_and_not_scored(
    detector: Detector, level: float, status: str, is_published: bool
) -> None:
    result = detector.score((np.full(20_000, level, np.float32), 16_000), published=is_published)
    assert result.status == status
    assert result.score is result.logits is result.llr is None
    assert result.label == (None if is_published else "unsure")
    assert result.reasons == (() if is_published else ("uncalibrated", status))
    assert (result.heard_seconds, result.seconds) == (0.0, 1.25)


def test_results_are_told_in_one_line_however_long(speech: np.ndarray) -> None:
    """A timeline in a notebook (a repr of 44,293 characters): short."""
    long, detector = np.tile(speech, 40), calibrated(1.0, 9.0)
    timeline = detector.timeline((long, 16_000), hop=0.01)
    assert len(timeline.windows) > 2_000
    assert repr(timeline) == f"Timeline(label='human', seconds=27.50: {len(timeline.windows)} windows, 1 segments)"
    score = detector.score((long, 16_000))
    assert repr(score) == (
        f"Score(label='human', p_synthetic={score.p_synthetic:.3f}, score={score.score:.3f}, heard_seconds=27.50, "
        "seconds=27.50)"
    )
    silent = detector.score((np.zeros(16_000, np.float32), 16_000))
    assert repr(silent) == ("Score(label='unsure', score=None, heard_seconds=0.00, seconds=1.00, reasons=('silent',))")
    published = detector.score((long, 16_000), published=True)
    assert repr(published) == (
        f"Score(published score={round(published.score, 3)}, heard_seconds=0.25, seconds=27.50, status='ok')"
    )


def test_clipping_is_told_and_scored(speech: np.ndarray) -> None:
    result = calibrated().score((np.clip(10 * speech, -0.5, 0.5), 16_000))
    assert result.status == "clipped"
    assert result.score is not None
    # But nobody is told a label, or a number that says as much.
    assert (result.label, result.llr) == ("unsure", None)
    assert "clipped" in result.reasons


@pytest.mark.parametrize("is_published", [True, False])
def test_each_side_of_a_call_is_scored_alone(detector: Detector, is_published: bool, tmp_path: Path) -> None:
    sides = [made_speech(0.7), made_speech(0.7, 2)]
    call = np.stack([*sides, np.zeros_like(sides[0])], axis=1)
    soundfile.write(tmp_path / "call.wav", call, 16_000, subtype="FLOAT")
    for side in range(2):
        alone = detector.score((call[:, side], 16_000), published=is_published)
        assert alone.score is not None
        assert detector.score(tmp_path / "call.wav", published=is_published, channel=side) == alone
        assert detector.score((call, 16_000), published=is_published, channel=side) == alone
    assert detector.score(tmp_path / "call.wav", published=is_published, channel=2).status == "silent"
    with pytest.raises(AudioError, match="no channel 3"):
        detector.score(tmp_path / "call.wav", published=is_published, channel=3)


WAVE = np.ones(5000, np.float32)


@pytest.mark.parametrize(
    ("audio", "complaint"),
    [
        (WAVE, r"cannot score ndarray: give a path, or \(array, sample_rate\)"),
        ((WAVE,), r"cannot score tuple"),
        (None, r"cannot score NoneType"),
        (["a.wav", "b.wav"], r"cannot score list: give one recording; `score_many` takes many of them"),
        (("a.wav", "b.wav"), r"cannot score tuple: give one recording; `score_many`"),
        (iter(["a.wav"]), r"cannot score list_iterator: give one recording; `score_many`"),
        (b"a.wav", r"audio of 5 bytes: not audio that can be decoded"),
        (b"", r"audio of 0 bytes: the file is empty"),
        ((WAVE, None), r"the sample rate: expected a whole number of Hz, got None"),
        ((WAVE, "16000"), r"the sample rate: expected a whole number of Hz, got '16000'"),
        ((WAVE, True), r"the sample rate: expected a whole number of Hz, got True"),
        ((WAVE, 44_100.0), r"the sample rate: expected a whole number of Hz, got 44100.0"),
        ((WAVE, float("nan")), r"the sample rate: expected a whole number of Hz, got nan"),
        ((WAVE, 0), r"0 Hz"),
        ((WAVE, -16_000), r"-16000 Hz"),
        ((WAVE[:0], 16_000), r"no samples"),
        ((np.float32(3), 16_000), r"shape \(\): expected \(samples,\) or \(samples, channels\)"),
        ((WAVE.reshape(5, 10, 100), 16_000), r"shape \(5, 10, 100\): expected"),
        ((WAVE.reshape(2, 2500), 16_000), r"transpose"),
        ((WAVE.astype(complex), 16_000), r"expected samples that are real numbers, got type complex128"),
        ((WAVE > 0, 16_000), r"expected samples that are real numbers, got type bool"),
        ((WAVE.astype(np.uint8), 16_000), r"samples of type uint8"),
        ((["a", "b"], 16_000), r"expected samples that are real numbers, got type <U1"),
        (([[1.0], [1.0, 2.0]], 16_000), r"the audio: expected an array of numbers, got list"),
        ((None, 16_000), r"expected samples that are real numbers, got type object"),
        ((np.append(WAVE, np.nan), 16_000), r"NaN or infinite"),
        ((np.append(WAVE, -np.inf), 16_000), r"NaN or infinite"),
    ],
)
def test_wrong_audio_is_one_clear_error(detector: Detector, audio: Any, complaint: str) -> None:
    with pytest.raises(AudioError, match=complaint) as caught:
        detector.score(audio)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"This is no audio, whatever its name may say.\n" * 50, "not audio that can be decoded"),
    ],
)
def test_a_wrong_file_is_one_clear_error(
    detector: Detector, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=complaint) as caught:
        detector.score(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(AudioError, match="is a folder"):
        detector.score(tmp_path)


def test_a_file_without_samples_or_with_nan_is_one_clear_error(detector: Detector, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    with pytest.raises(AudioError, match=r"none\.wav: .*no samples"):
        detector.score(tmp_path / "none.wav")
    soundfile.write(tmp_path / "nan.wav", np.append(WAVE, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"nan\.wav: holds NaN"):
        detector.score(tmp_path / "nan.wav")


@pytest.mark.parametrize(
    ("waves", "complaint"),
    [
        (WAVE, r"expected float32 of shape \(batch, samples\), got float32 of shape \(5000,\)"),
        (WAVE[None, None], r"of shape \(1, 1, 5000\)"),
        (WAVE[None].astype(np.float64), r"got float64 of shape \(1, 5000\)"),
        (WAVE[None].astype(np.int16), r"got int16"),
        ([[1.0], [1.0, 2.0]], r"waves: expected an array of numbers"),
        ("a.wav", r"waves: expected samples that are real numbers, got type <U5"),
        (WAVE[None, : WIDTH - 1], r"waves: 99 samples; the model takes at least 100"),
        (np.zeros((2, 0), np.float32), r"waves: 0 samples"),
        (np.full((1, 200), np.nan, np.float32), r"waves: NaN or infinite"),
        (np.full((1, 200), np.inf, np.float32), r"waves: NaN or infinite"),
    ],
)
def test_wrong_waves_are_one_clear_error(detector: Detector, waves: Any, complaint: str) -> None:
    with pytest.raises(AudioError, match=complaint):
        detector.logits(waves)


def test_an_output_that_is_not_finite_is_never_a_score(tmp_path: Path) -> None:
    detector = Detector(toy_weights(gain=1e30))
    wave = np.float32(1e11) * made_speech(0.4)
    with pytest.raises(AudioError, match="waves: too loud for the model"):
        detector.logits(wave[None])
    with pytest.raises(AudioError, match="the audio: too loud for the model"):
        detector.score((wave, 16_000))
    soundfile.write(tmp_path / "loud.wav", wave, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"loud\.wav: too loud for the model"):
        detector.score(tmp_path / "loud.wav")


def test_half_precision_weights_are_computed_with_in_float32(speech: np.ndarray) -> None:
    weights = toy_weights()
    narrow = dataclasses.replace(
        weights,
        variables={
            **weights.variables,
            "batch_stats": {
                "norm": weights.variables["batch_stats"]["norm"] | {"var": np.full(WIDTH, 1e-7, np.float16)}
            },
        },
    )
    exact = narrow.variables["batch_stats"]["norm"]["var"].astype(np.float64)
    magnitude = np.abs(speech[:WINDOW].reshape(-1, WIDTH)).mean(0) / np.sqrt(exact + 1e-5)
    expected = magnitude @ weights.variables["params"]["judge"]["kernel"]
    np.testing.assert_allclose(Detector(narrow).score((speech, 16_000), published=True).logits, expected, rtol=1e-4)


def test_a_folder_is_loaded_by_name(tmp_path: Path, detector: Detector, speech: np.ndarray) -> None:
    folder = save_toy(tmp_path / "toy")
    result = Detector.from_pretrained(str(folder)).score((speech, 16_000))
    assert result.logits == detector.score((speech, 16_000)).logits
    with pytest.raises(WeightsError, match=r"nowhere: no such folder, nor weights of that name"):
        Detector.from_pretrained(tmp_path / "nowhere")


def test_wrong_arguments_of_score_many_are_refused_at_once() -> None:
    # In a process of its own: here, the checker of types under test would be first.
    code = (
        "from tests.models import toy\n"
        "from aasist_jax import Detector\n"
        "toy.register(toy.TOY)\n"
        "try:\n"
        "    Detector(toy.toy_weights()).score_many(3)\n"
        "except Exception as error:\n"
        "    print(repr(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    one = "AudioError('score_many: expected many recordings, got int; `score` takes one, or give a list of one')"
    assert done.stdout.splitlines() == [one], done.stderr


@pytest.mark.reference
def test_the_official_weights_score_the_official_clips() -> None:
    golden, detector = official.golden("AASIST-L"), official.detector("AASIST-L")
    assert detector.window == 64_600
    for wave, (spoof, bonafide) in zip(golden.wave[-2:], golden.stages["logits"][-2:], strict=True):
        result = detector.score(((wave * 32768).astype(np.int16), 16_000), published=True)
        assert result.logits == pytest.approx((spoof, bonafide), abs=2e-5)
        assert (result.label, result.seconds, result.heard_seconds) == (None, 4.0375, 4.0375)


@pytest.mark.reference
def test_a_wave_too_short_for_the_official_model_is_refused() -> None:
    with pytest.raises(AudioError, match="waves: 2314 samples; the model takes at least 2315"):
        official.detector("AASIST-L").logits(np.ones((1, 2314), np.float32))


def test_load_audio_is_the_only_ear(detector: Detector, speech: np.ndarray, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", speech, 22_050)
    wave = load_audio(tmp_path / "a.flac")
    assert detector.score(tmp_path / "a.flac") == detector.score((wave, 16_000))


def test_a_model_of_fixed_windows_takes_no_lengths(detector: Detector) -> None:
    with pytest.raises(AudioError, match="lengths: Toy has fixed windows and takes none"):
        detector.logits(np.zeros((1, WINDOW), np.float32), np.array([WINDOW]))


def test_without_frames_nothing_is_encoded(detector: Detector) -> None:
    with pytest.raises(ConfigError, match="Toy: its encoder has no frames"):
        detector.encode(np.zeros((1, WINDOW), np.float32), np.array([[0, WINDOW]], np.int32))
