"""The Detector: the published window rule, frozen results, and no silent number for wrong input."""

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
from aasist_jax.detection.detector import Detector
from aasist_jax.errors import AudioError, ConfigError, WeightsError
from tests.conftest import REPOSITORY
from tests.models.aasist import official
from tests.models.toy import WIDTH, WINDOW, save_toy, toy_weights

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(toy_weights())


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two and a half windows and a bit of something uneven."""
    rng = np.random.default_rng(1)
    return (rng.uniform(-1, 1, 11_000) * np.linspace(0.1, 0.9, 11_000)).astype(np.float32)


def test_logits_are_one_row_a_wave(detector: Detector, speech: np.ndarray) -> None:
    waves = np.stack([np.roll(speech, 17 * i)[:WINDOW] for i in range(11)])
    logits = detector.logits(waves)
    assert isinstance(logits, np.ndarray)
    assert (logits.shape, logits.dtype) == ((11, 2), np.float32)
    # Batches of 8 and 3 (padded to 4) must not disturb each other.
    np.testing.assert_allclose(logits, np.concatenate([detector.logits(w[None]) for w in waves]), rtol=1e-5, atol=1e-6)
    assert detector.logits(np.zeros((0, WINDOW), np.float32)).shape == (0, 2)
    assert detector.logits(waves[:, :WIDTH]).shape == (11, 2)


def test_a_score_is_the_bona_fide_logit_of_the_first_window(detector: Detector, speech: np.ndarray) -> None:
    result = detector.score((speech, 16_000))
    spoof, bonafide = map(float, detector.logits(speech[None, :WINDOW])[0])
    assert result.logits == (spoof, bonafide)
    assert result.score == bonafide
    assert result.window_scores == (bonafide,)
    assert result.label == ("bonafide" if bonafide > spoof else "spoof")
    assert result.duration == 11_000 / 16_000
    assert result.status == "ok"
    assert result.model_id == "toy-0123"
    assert detector.window == WINDOW
    # What follows the first window has no say, and that it was not heard is told.
    assert result.heard_seconds == WINDOW / 16_000
    assert dataclasses.replace(result, duration=0.5) == detector.score((speech[:8000], 16_000))


def test_the_label_follows_the_larger_logit(speech: np.ndarray) -> None:
    weights = toy_weights()
    seen = set()
    for sign in (1, -1):
        judge = {"kernel": weights.variables["params"]["judge"]["kernel"] * np.float32(sign), "bias": np.zeros(2, "f4")}
        params = weights.variables["params"] | {"judge": judge}
        variables = weights.variables | {"params": params}
        result = Detector(dataclasses.replace(weights, variables=variables)).score((speech, 16_000))
        assert result.logits is not None
        assert result.label == ("spoof", "bonafide")[int(np.argmax(result.logits))]
        seen.add(result.label)
    assert seen == {"spoof", "bonafide"}


def test_a_short_clip_is_repeated_to_fill_the_window(detector: Detector, speech: np.ndarray) -> None:
    clip = speech[:1500]
    filled = np.concatenate([clip, clip, clip[:1000]])
    result = detector.score((clip, 16_000))
    assert result.logits == tuple(map(float, detector.logits(filled[None])[0]))
    assert result.status == "short"
    assert detector.score((clip, 16_000), windows="all") == result
    assert detector.score((speech[:7999], 16_000)).status == "short"
    assert detector.score((speech[:8000], 16_000)).status == "ok"


def test_all_windows_are_scored_and_averaged(detector: Detector, speech: np.ndarray) -> None:
    result = detector.score((speech, 16_000), windows="all")
    # The third is anchored to the end.
    logits = detector.logits(np.stack([speech[:4000], speech[4000:8000], speech[7000:]]))
    assert result.window_scores == tuple(map(float, logits[:, 1]))
    np.testing.assert_allclose(result.logits, logits.mean(0), rtol=1e-6)
    assert result.logits is not None
    assert result.score == result.logits[1]
    exact = detector.score((speech[:8000], 16_000), windows="all")
    assert exact.window_scores == result.window_scores[:2]
    # More windows than one batch holds.
    long = np.tile(speech, 6)[: 20 * WINDOW]
    assert len(long) == 66_000 or len(long) == 20 * WINDOW
    many = detector.score((long, 16_000), windows="all")
    starts = [*range(0, len(long) - WINDOW + 1, WINDOW)]
    starts += [len(long) - WINDOW] if starts[-1] + WINDOW < len(long) else []
    np.testing.assert_allclose(
        many.window_scores, detector.logits(np.stack([long[s : s + WINDOW] for s in starts]))[:, 1], rtol=1e-6
    )


def test_results_and_weights_are_frozen(detector: Detector, speech: np.ndarray) -> None:
    result = detector.score((speech, 16_000))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.score = 3.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        detector.weights.model_id = "x"
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
    time = np.arange(44_100) / 44_100
    stereo = np.stack([0.4 * np.sin(2 * np.pi * 440 * time), 0.2 * np.sin(2 * np.pi * 1234 * time)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 44_100, subtype="FLOAT")
    result = detector.score(tmp_path / "stereo.wav")
    assert result.duration == pytest.approx(1, abs=1e-3)
    assert result.status == "ok"
    mono = soxr.resample(stereo.mean(1).astype(np.float32), 44_100, 16_000, "HQ")
    np.testing.assert_allclose(result.logits, detector.score((mono, 16_000)).logits, rtol=1e-4)
    assert detector.score((stereo.astype(np.float32), 44_100)).logits == pytest.approx(result.logits, rel=1e-5)


@pytest.mark.parametrize(("level", "status"), [(0.0, "silent"), (0.25, "constant")])
def test_digital_silence_and_a_constant_are_told_and_not_scored(detector: Detector, level: float, status: str) -> None:
    result = detector.score((np.full(20_000, level, np.float32), 16_000))
    assert result.status == status
    assert result.label is result.score is result.logits is None
    assert result.window_scores == ()
    assert result.duration == 1.25


def test_results_are_told_in_one_line_however_long(detector: Detector, speech: np.ndarray) -> None:
    """A timeline in a notebook (a repr of 44,293 characters): short."""
    long = np.tile(speech, 40)
    timeline = detector.timeline((long, 16_000), hop=0.01)
    assert len(timeline.windows) > 2_000
    verdict = timeline.verdict
    assert repr(timeline) == (
        f"Timeline(label={verdict.label!r}, score={round(verdict.score or 0, 3)}, duration=27.50: "
        f"{len(timeline.windows)} windows, {len(timeline.segments)} segments)"
    )
    score = detector.score((long, 16_000), windows="all")
    assert repr(score) == (
        f"Score(label={score.label!r}, score={round(score.score or 0, 3)}, heard_seconds=27.50, duration=27.50, "
        "status='ok')"
    )
    silent = detector.score((np.zeros(16_000, np.float32), 16_000))
    assert repr(silent) == "Score(label=None, score=None, heard_seconds=0.00, duration=1.00, status='silent')"
    calibrated = dataclasses.replace(score, llr=1.234)
    assert ", llr=1.23, heard_seconds=" in repr(calibrated)


def test_clipping_is_told_and_scored(detector: Detector, speech: np.ndarray) -> None:
    clipped = np.clip(np.convolve(speech, np.hanning(16), mode="same"), -0.5, 0.5).astype(np.float32)
    result = detector.score((clipped, 16_000))
    assert result.status == "clipped"
    assert result.score is not None


def test_the_status_is_that_of_what_is_heard(detector: Detector, speech: np.ndarray) -> None:
    late = np.concatenate([np.zeros(8000, np.float32), speech])
    assert detector.score((late, 16_000)).status == "silent"
    assert detector.score((late, 16_000), windows="all").status == "ok"


@pytest.mark.parametrize("windows", ["first", "all"])
def test_each_side_of_a_call_is_scored_alone(
    detector: Detector, speech: np.ndarray, windows: Any, tmp_path: Path
) -> None:
    call = np.stack([speech, speech[::-1], np.zeros_like(speech)], axis=1)
    soundfile.write(tmp_path / "call.wav", call, 16_000, subtype="FLOAT")
    for side in range(2):
        alone = detector.score((call[:, side], 16_000), windows=windows)
        assert alone.score is not None
        assert detector.score(tmp_path / "call.wav", windows=windows, channel=side) == alone
        assert detector.score((call, 16_000), windows=windows, channel=side) == alone
    assert detector.score(tmp_path / "call.wav", windows=windows, channel=2).status == "silent"
    with pytest.raises(AudioError, match="no channel 3"):
        detector.score(tmp_path / "call.wav", windows=windows, channel=3)


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
    wave = np.linspace(1e8, 2e8, 5000, dtype=np.float32)
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
    np.testing.assert_allclose(Detector(narrow).score((speech, 16_000)).logits, expected, rtol=1e-4)


def test_a_folder_is_loaded_by_name(tmp_path: Path, detector: Detector, speech: np.ndarray) -> None:
    folder = save_toy(tmp_path / "toy")
    result = Detector.from_pretrained(str(folder)).score((speech, 16_000))
    assert result.logits == detector.score((speech, 16_000)).logits
    with pytest.raises(WeightsError, match=r"nowhere: no such folder, nor published weights of that name"):
        Detector.from_pretrained(tmp_path / "nowhere")


def test_an_unknown_window_rule_is_refused() -> None:
    # In a process of its own: here, the checker of types under test would be first.
    code = (
        "from tests.models import toy\n"
        "import numpy; from aasist_jax import Detector\n"
        "toy.register(toy.TOY)\n"
        "detector = Detector(toy.toy_weights())\n"
        "for score in (lambda: detector.score((numpy.ones(5000, 'f4'), 16000), windows='middle'),\n"
        "              lambda: detector.score_many([], windows='middle'), lambda: detector.score_many(3)):\n"
        "    try:\n"
        "        score()\n"
        "    except Exception as error:\n"
        "        print(repr(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    wrong = """AudioError("windows: expected 'first' or 'all', got 'middle'")"""
    one = "AudioError('score_many: expected many recordings, got int; `score` takes one, or give a list of one')"
    assert done.stdout.splitlines() == [wrong, wrong, one], done.stderr


@pytest.mark.reference
def test_the_official_weights_score_the_official_clips() -> None:
    golden, detector = official.golden("AASIST-L"), official.detector("AASIST-L")
    assert detector.window == 64_600
    for wave, (spoof, bonafide) in zip(golden.wave[-2:], golden.stages["logits"][-2:], strict=True):
        result = detector.score(((wave * 32768).astype(np.int16), 16_000))
        assert result.logits == pytest.approx((spoof, bonafide), abs=2e-5)
        assert result.label == ("bonafide" if bonafide > spoof else "spoof")
        assert result.duration == 4.0375


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
