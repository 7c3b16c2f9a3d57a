"""One recording has one verdict, to the bit: alone, among many, over time, as a stream, in JSON and in CSV."""

import csv
import functools
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from aasist_jax.audio.facts import USUAL, SignalLimits
from aasist_jax.audio.load import load_audio
from aasist_jax.corpus.non_speech import music
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.files import score_files
from aasist_jax.detection.inputs import Recording
from aasist_jax.detection.live import Ended, live_events
from aasist_jax.detection.result import Score
from aasist_jax.detection.row_text import write_rows
from aasist_jax.detection.timeline_text import as_json
from aasist_jax.detection.verdict import DecisionRule
from tests.conftest import EVAL_CLIPS, needs_corpus
from tests.made_calibration import made_calibration
from tests.made_speech import hiss, made_speech
from tests.models import toy
from tests.models.aasist import official

pytestmark = pytest.mark.usefixtures("toy_family")

RATE = 16_000


@functools.cache
def toy_detector() -> Detector:
    """By its calibration, loud speech is human and faint speech synthetic."""
    detector = Detector(toy.toy_weights())
    detector.calibration = made_calibration(detector, 20.0, -5.0)
    return detector


@functools.cache
def official_detector() -> Detector:
    """AASIST-L with a calibration by hand, by which clips of the corpus get all three labels."""
    detector = Detector(official.weights("AASIST-L"))
    detector.calibration = made_calibration(detector, 1.0, 1.0)
    return detector


def facts_of(result: Score) -> dict[str, Any]:
    return {
        "label": result.label,
        "llr": result.llr,
        "p_synthetic": result.p_synthetic,
        "reasons": result.reasons,
        "heard_seconds": result.heard_seconds,
        "seconds": result.seconds,
        "speech_seconds": result.speech_seconds,
        "status": result.status,
        "logits": result.logits,
        "model_id": result.model_id,
    }


def of_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON or CSV as `facts_of` has it."""

    def number(name: str) -> float | None:
        return None if row[name] in (None, "") else float(row[name])

    spoof, bonafide = number("spoof_logit"), number("bonafide_logit")
    return {
        "label": row["label"],
        "llr": number("llr"),
        "p_synthetic": number("p_synthetic"),
        "reasons": tuple(row["reasons"].split("; ")) if row["reasons"] else (),
        "heard_seconds": number("heard_seconds"),
        "seconds": number("seconds"),
        "speech_seconds": number("speech_seconds"),
        "status": row["status"],
        "logits": None if spoof is None else (spoof, bonafide),
        "model_id": row["model_id"],
    }


def chunks(wave: np.ndarray, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.split(wave, np.sort(rng.integers(0, len(wave) + 1, int(10 ** rng.uniform(0, 2.5)))))


def every_way(detector: Detector, path: Path, rule: DecisionRule) -> dict[str, dict[str, Any]]:
    """The verdict on a file on every way there is to one."""
    wave = load_audio(path)
    found = {"score": facts_of(detector.score(path, rule=rule))}
    found["score of bytes"] = facts_of(detector.score(path.read_bytes(), rule=rule))
    found["score of samples"] = facts_of(detector.score((wave, RATE), rule=rule))
    others = (made_speech(1.0), RATE), (made_speech(9.0, 1), RATE)
    among = detector.score_many([*others, path, *others], rule=rule)
    found["among many"] = facts_of([each for each in among if isinstance(each, Score)][2])
    for hop, exact in ((None, False), (detector.window / RATE / 2, False), (detector.window / RATE / 2, True)):
        timeline = detector.timeline(path, rule=rule, hop=hop, exact=exact)
        found[f"timeline {hop} {exact}"] = facts_of(timeline.score)
        document = json.loads(as_json([("a", timeline)]))
        found[f"timeline {hop} {exact} as JSON"] = of_row(document)
        if hop is None:
            assert timeline.segments == detector.score(path, rule=rule).segments
            assert timeline.windows == timeline.score.windows
        # No segment says more than the verdict.
        if timeline.score.label == "human":
            assert {segment.label for segment in timeline.segments} <= {"human", "unheard"}
        if any(segment.label == "synthetic" for segment in timeline.segments):
            assert timeline.score.label == "synthetic"
    for seed in range(2):
        stream = detector.stream(rule=rule)
        for chunk in chunks(wave, seed):
            stream.push(chunk)
        stream.finish()
        found[f"stream {seed}"] = facts_of(stream.result())
    ended = list(live_events(detector.stream(rule=rule), chunks(wave, 3)))[-1]
    assert isinstance(ended, Ended)
    found["live"] = facts_of(ended.result)
    for format in ("json", "jsonl", "csv"):
        text = io.StringIO()
        write_rows(score_files(detector, [Recording(str(path))], rule=rule), format, text.write)
        if format == "csv":
            (row,) = csv.DictReader(io.StringIO(text.getvalue()))
        else:
            row = json.loads(text.getvalue())
            row = row[0] if format == "json" else row
        found[format] = of_row(row)
    return found


def assert_one_verdict(found: dict[str, dict[str, Any]]) -> None:
    expected = found["score"]
    for way, facts in found.items():
        assert facts == expected, way


SOUNDS = {
    "loud speech": lambda: made_speech(3.0),
    "faint speech": lambda: made_speech(3.0, gain=0.02),
    "half synthetic": lambda: np.concatenate([made_speech(2.0), made_speech(1.0, 2, gain=0.02)]),
    "speech, noise, speech": lambda: np.concatenate([made_speech(3.0), hiss(1.5, -40), made_speech(3.0, 1)]),
    "speech with pauses": lambda: np.concatenate([made_speech(1.0), np.zeros(30_000, np.float32), made_speech(1.1, 2)]),
    "0.3 s": lambda: made_speech(0.3),
    "a window": lambda: made_speech(0.25),
    "silence": lambda: np.zeros(40_000, np.float32),
    "a line": lambda: np.full(40_000, 0.3, np.float32),
    "music": lambda: music(4 * RATE, np.random.default_rng(0)).astype(np.float32),
    "noise": lambda: hiss(3.0, -20),
    "clipped": lambda: np.clip(20 * made_speech(3.0), -0.5, 0.5),
    "one sample": lambda: np.full(1, 0.25, np.float32),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_made_by_code_have_one_verdict(name: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SOUNDS[name](), RATE, subtype="FLOAT")
    # Half of them by another rule than the usual one.
    rule = DecisionRule() if list(SOUNDS).index(name) % 2 else DecisionRule(0.02, 0.99)
    assert_one_verdict(every_way(toy_detector(), tmp_path / "a.wav", rule))


def test_all_labels_were_there() -> None:
    labels = {name: toy_detector().score((make(), RATE)).label for name, make in SOUNDS.items()}
    assert set(labels.values()) == {"human", "unsure", "synthetic"}
    assert (labels["loud speech"], labels["faint speech"], labels["half synthetic"]) == (
        *("human", "synthetic", "synthetic"),
    )


@pytest.mark.parametrize(("rate", "channels", "kind"), [(8_000, 1, "wav"), (44_100, 2, "flac"), (48_000, 2, "ogg")])
def test_files_of_other_rates_and_channels_have_one_verdict(
    rate: int, channels: int, kind: str, tmp_path: Path
) -> None:
    # The two channels hold one sound, so that no side of a call is judged by itself.
    wave = soxr.resample(made_speech(4.0), RATE, rate)
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
    detector = Detector(toy.toy_weights())
    detector.calibration = replace(made_calibration(detector, 20.0, -5.0), limits=SignalLimits(6000.0, 0.0, 0.0))
    found = every_way(detector, path, DecisionRule())
    assert_one_verdict(found)
    assert ("band-limited" in found["score"]["reasons"]) == (rate == 8_000)
    # A set with recordings as narrow as this one makes it no reason.
    detector.calibration = made_calibration(detector, 20.0, -5.0)
    assert detector.score(path).reasons == ()


def test_noise_makes_every_way_unsure_unless_the_calibration_met_it(tmp_path: Path) -> None:
    wave = made_speech(4.0) + hiss(4.0, -30)
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    detector = Detector(toy.toy_weights())
    detector.calibration = replace(made_calibration(detector, 20.0, -5.0), limits=USUAL)
    found = every_way(detector, tmp_path / "a.wav", DecisionRule())
    assert_one_verdict(found)
    assert (found["score"]["label"], found["score"]["reasons"]) == ("unsure", ("noisy or reverberant",))
    assert found["score"]["p_synthetic"] is None
    assert detector.score((made_speech(4.0), RATE)).reasons == ()
    detector.calibration = replace(detector.calibration, limits=replace(USUAL, snr_db=0.0, decay_db=0.0))
    assert detector.score(tmp_path / "a.wav").reasons == ()


@pytest.mark.reference
@needs_corpus
@pytest.mark.parametrize("count", [4, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_real_speech_has_one_verdict_by_the_official_weights(count: int, tmp_path: Path) -> None:
    files = sorted(EVAL_CLIPS.glob("*.flac"))
    labels = set()
    for path in files[:: len(files) // count][:count]:
        found = every_way(official_detector(), path, DecisionRule(sure=0.75))
        assert_one_verdict(found)
        labels.add(found["score"]["label"])
    print(f"{count} clips: {sorted(labels)}")
    assert len(labels) > 1
    joined = np.concatenate([load_audio(path) for path in files[:12]])[: (14 if count < 10 else 30) * RATE]
    soundfile.write(tmp_path / "joined.flac", joined, RATE)
    assert_one_verdict(every_way(official_detector(), tmp_path / "joined.flac", DecisionRule()))


def test_a_call_of_two_sides_has_one_verdict_and_one_of_each_side(tmp_path: Path) -> None:
    detector, path = toy_detector(), tmp_path / "call.wav"
    sides = np.stack([made_speech(3.0), made_speech(3.0, 2, gain=0.02)], axis=1)
    soundfile.write(path, sides, RATE, subtype="FLOAT")
    expected = detector.score(path)
    assert [side.label for side in expected.channels] == ["human", "synthetic"]
    assert "channels differ" in expected.reasons
    assert list(expected.channels) == [detector.score(path, channel=side) for side in (0, 1)]
    among = list(detector.score_many([(made_speech(2.0), RATE), path, (sides, RATE), (made_speech(5.0), RATE)]))
    assert among[1] == among[2] == detector.score((sides, RATE)) == expected
    assert detector.timeline(path).score == detector.timeline((sides, RATE), hop=0.1).score == expected


def test_without_a_calibration_every_way_says_so(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", made_speech(3.0), RATE)
    found = every_way(Detector(toy.toy_weights()), tmp_path / "a.wav", DecisionRule())
    assert_one_verdict(found)
    assert (found["csv"]["label"], found["csv"]["reasons"]) == ("unsure", ("uncalibrated",))


@pytest.mark.parametrize("examples", [25, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_chunks_of_any_size_make_one_verdict(examples: int) -> None:
    """A closed stream of speech, loud and faint, and of pauses between; also the labels of all windows."""
    detector = toy_detector()
    part = st.tuples(st.sampled_from([1.0, 0.3, 0.02, 0.0]), st.integers(1, 8000))

    @settings(max_examples=examples, deadline=None)
    @given(st.lists(part, min_size=1, max_size=5), st.lists(st.integers(0, 40_000), max_size=20))
    def property(parts: list[tuple[float, int]], ends: list[int]) -> None:
        wave = np.concatenate([gain * SPEECH[:size] for gain, size in parts]).astype(np.float32)
        expected = detector.score((wave, RATE))
        stream, windows = detector.stream(), []
        for chunk in np.split(wave, sorted(min(end, wave.size) for end in ends)):
            windows += stream.push(chunk)
        windows += stream.finish()
        result = stream.result()
        assert result == expected
        assert tuple(windows) == expected.windows
        rule = DecisionRule()
        for judged in stream.judged_windows(result):
            if judged.label in ("human", "synthetic") and result.p_synthetic is not None:
                assert judged.p_synthetic is not None
                assert judged.label == rule.label(judged.p_synthetic)
                assert judged.p_synthetic <= result.p_synthetic
            if judged.label == "synthetic":
                assert result.label == "synthetic"

    property()


SPEECH = made_speech(0.5)


def test_threads_that_share_a_detector_get_one_verdict() -> None:
    from concurrent.futures import ThreadPoolExecutor

    waves = [made_speech(1 + 0.3 * seed, seed, gain=(1.0, 0.02)[seed % 2]) for seed in range(12)]
    expected = [toy_detector().score((wave, RATE)) for wave in waves]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda wave: toy_detector().score((wave, RATE)), waves)) == expected


def test_one_program_serves_every_way(tmp_path: Path) -> None:
    """Each shape of a batch would be rounded in its own way, so there is one."""
    detector = Detector(toy.toy_weights())
    soundfile.write(tmp_path / "a.wav", made_speech(9.0), RATE)
    every_way(detector, tmp_path / "a.wav", DecisionRule())
    assert detector._read_out._cache_size() == 1
