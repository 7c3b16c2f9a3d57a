"""Many recordings at once: the numbers of one at a time, in order, within bounds, in one shape."""

import io
import threading
import time
from collections.abc import Iterator, Sized
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aasist_jax import Score
from aasist_jax.detection import batches
from aasist_jax.detection.batches import BATCH_SIZE, InTurn, batch_size_for, score_in_batches
from aasist_jax.detection.detector import Detector
from aasist_jax.errors import AudioError
from aasist_jax.weights.folder import Source, save_weights
from tests.models import toy
from tests.models.aasist.tiny import CONFIG, random_variables
from tests.models.toy import WINDOW, toy_weights


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    with toy.registered():
        yield Detector(toy_weights())


def recordings(count: int) -> list[tuple[np.ndarray, int]]:
    """Of very different lengths: below a window, silent, many windows."""
    rng = np.random.default_rng(3)
    waves = [rng.uniform(-0.5, 0.5, int(rng.integers(500, 9 * WINDOW))).astype(np.float32) for _ in range(count)]
    waves[4] = np.zeros(20_000, np.float32)
    return [(wave, 16_000) for wave in waves]


@pytest.mark.parametrize("windows", ["first", "all"])
def test_the_scores_are_those_of_one_at_a_time(detector: Detector, windows: Any) -> None:
    audio = recordings(21)
    sources = [partial(lambda item: item, item) for item in audio]
    found = list(score_in_batches(detector, sources, windows=windows))
    for item, result in zip(audio, found, strict=True):
        assert isinstance(result, Score)
        expected = detector.score(item, windows=windows)
        assert (result.status, result.label, result.duration) == (expected.status, expected.label, expected.duration)
        assert result.window_scores == pytest.approx(expected.window_scores, rel=1e-6)
        assert result.logits == (None if expected.logits is None else pytest.approx(expected.logits, rel=1e-6))


def test_many_recordings_of_any_kind_are_scored_in_order(
    detector: Detector, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`score([...])` in Python: many at once by `score_many`, with progress."""
    (wave, rate), *_ = recordings(5)
    pcm = np.round(wave * 32_000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", pcm, rate)
    content = (tmp_path / "a.wav").read_bytes()
    inputs: list[Any] = [str(tmp_path / "a.wav"), tmp_path / "a.wav", (pcm, rate), content, io.BytesIO(content)]
    inputs[1:1] = [tmp_path / "none.wav", b"no audio", None]
    monkeypatch.setattr("aasist_jax.runtime.progress.LINE_SECONDS", -1.0)
    for windows in ("first", "all"):
        expected = detector.score((pcm, rate), windows=windows)
        for many in (inputs, tuple(inputs), iter(inputs)):
            found = list(detector.score_many(many, windows=windows, progress=True))
            assert [type(result) for result in found] == [Score, AudioError, AudioError, AudioError, *[Score] * 4]
            for result in found:
                if isinstance(result, Score):
                    assert result.window_scores == pytest.approx(expected.window_scores, rel=1e-6)
            assert [str(error).partition(":")[0] for error in found[1:4]] == [
                *(str(tmp_path / "none.wav"), "audio of 8 bytes", "cannot score NoneType"),
            ]
            told = [line.rstrip() for line in capsys.readouterr().err.splitlines()]
            assert told == [f"Scoring {done}" + ("/8" if isinstance(many, Sized) else "") for done in range(9)]
    list(detector.score_many(inputs))
    assert capsys.readouterr().err == ""
    assert list(detector.score_many([])) == []


def test_one_side_of_many_calls(detector: Detector) -> None:
    (wave, rate), *_ = recordings(5)
    call = np.stack([wave, wave[::-1]], axis=1)
    for side in (0, 1):
        (found,) = detector.score_many([(call, rate)], channel=side)
        assert isinstance(found, Score)
        assert found.score == pytest.approx(detector.score((call, rate), channel=side).score, rel=1e-6)


@pytest.mark.parametrize("one", ["a.wav", b"RIFF", io.BytesIO(b"RIFF"), (np.zeros(100), 16_000)])
def test_one_recording_is_not_many(detector: Detector, one: Any) -> None:
    with pytest.raises(AudioError, match=r"^score_many: expected many recordings, got .*; `score` takes one, or give"):
        detector.score_many(one)


def test_every_batch_has_one_shape(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    run = detector.batch_logits
    monkeypatch.setattr(
        detector, "batch_logits", lambda waves, lengths: (shapes.append(waves.shape), run(waves, lengths))[1]
    )
    sources = [partial(lambda item: item, item) for item in recordings(21)]
    list(score_in_batches(detector, sources, windows="first", batch_size=8))
    assert shapes == [(8, WINDOW)] * 3
    shapes.clear()
    windows = [len(detector.prepare(source(), windows="all").windows) for source in sources]
    list(score_in_batches(detector, sources, windows="all", batch_size=8))
    assert shapes == [(8, WINDOW)] * -(-sum(windows) // 8)


def test_a_small_job_has_a_small_batch() -> None:
    assert [batch_size_for(count, "first") for count in (0, 1, 2, 3, 4, 5, 8, 9, 1000)] == [1, 1, 2, 4, 4, 8, 8, 8, 8]
    assert batch_size_for(1, "all") == 8


def test_faults_stay_with_their_recording(detector: Detector) -> None:
    def broken() -> Any:
        raise AudioError("broken: on purpose")

    loud = (np.full(WINDOW, 3e38, np.float32) * np.resize([1, -1], WINDOW).astype(np.float32), 16_000)
    audio = recordings(9)
    sources: list[Any] = [partial(lambda item: item, item) for item in [*audio[:3], loud, *audio[5:]]]
    sources.insert(1, broken)
    found = list(score_in_batches(detector, sources))
    assert [isinstance(result, Score) for result in found] == [True, False, True, True, False, *[True] * 4]
    assert str(found[1]) == "broken: on purpose"
    assert "too loud for the model" in str(found[4])


def test_what_does_not_fit_into_memory_is_a_fault_of_its_recording(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = detector.prepare

    def short_of_memory(audio: Any, **options: Any) -> Any:
        if isinstance(audio, str):
            raise MemoryError
        return prepare(audio, **options)

    def no_room() -> Any:
        raise MemoryError

    monkeypatch.setattr(detector, "prepare", short_of_memory)
    sources: list[Any] = [partial(lambda item: item, item) for item in ["a\nday.wav", *recordings(5)]]
    whole = list(score_in_batches(detector, [*sources, no_room], windows="all"))
    assert [isinstance(result, Score) for result in whole] == [False, *[True] * 5, False]
    assert str(whole[0]) == "'a\\nday.wav': too long to hold in memory; split it, or score its first window alone"
    assert str(whole[-1]).startswith("the recording: too long to hold in memory; split it")
    assert str(next(score_in_batches(detector, sources))).endswith("memory; split it")


def test_what_comes_in_turn_is_waited_for_once_all_before_it_is_scored(detector: Detector) -> None:
    audio = recordings(9)
    threads, done = [], 0

    def in_turn() -> Any:
        threads.append(threading.current_thread())
        assert done == 5
        return audio[5]

    sources: list[Any] = [partial(lambda item: item, item) for item in audio]
    sources[5] = InTurn(in_turn)
    found = []
    for result in score_in_batches(detector, sources, batch_size=8):
        assert isinstance(result, Score)
        found.append(result)
        done += 1
    for item, result in zip(audio, found, strict=True):
        assert result.window_scores == pytest.approx(detector.score(item).window_scores, rel=1e-6)
    assert threads == [threading.main_thread()]
    alone = list(score_in_batches(detector, [InTurn(partial(lambda: audio[0]))] * 3))
    assert [isinstance(result, Score) for result in alone] == [True] * 3


def test_decoding_runs_ahead_in_order_and_within_bounds(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "AHEAD_BYTES", 10 * (WINDOW * 4 + 1024))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    begun, lock, running, most = [], threading.Lock(), 0, 0

    def source(index: int) -> tuple[np.ndarray, int]:
        nonlocal running, most
        with lock:
            begun.append(index)
            running += 1
            most = max(most, running)
        time.sleep(0.02 if index % 3 else 0.06)
        with lock:
            running -= 1
        return np.full(WINDOW, 1 + index, np.float32) * np.resize([1, -1], WINDOW).astype(np.float32) / 100, 16_000

    results = score_in_batches(detector, [partial(source, index) for index in range(60)], batch_size=8)
    first = next(results)
    time.sleep(0.5)
    # Eight in the batch that was run, ten that wait, and what the four threads had in hand.
    assert 8 < len(begun) <= 8 + 10 + 4 + 1
    assert most > 1
    scores = [result.score for result in (first, *results) if isinstance(result, Score)]
    assert begun == list(range(60))
    expected = [detector.score(source(index)).score for index in range(60)]
    assert scores == pytest.approx(expected, rel=1e-6)


def test_who_stops_listening_waits_for_no_decoder(detector: Detector) -> None:
    release = threading.Event()

    def source(index: int) -> tuple[np.ndarray, int]:
        if index >= 8:
            release.wait(20)
        return np.linspace(-1, 1, WINDOW, dtype=np.float32), 16_000

    results = score_in_batches(detector, [partial(source, index) for index in range(100)], batch_size=8)
    started = time.perf_counter()
    assert isinstance(next(results), Score)
    results.close()
    assert time.perf_counter() - started < 10
    release.set()


def test_a_fault_of_the_programs_own_is_not_a_row(detector: Detector) -> None:
    def bug() -> Any:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(score_in_batches(detector, [bug] * 5))


def test_a_window_has_the_same_logits_wherever_it_stands(tmp_path: Path) -> None:
    detector = Detector.from_pretrained(save_weights(tmp_path, CONFIG, random_variables(), Source("tiny.pth", "0")))
    waves = np.random.default_rng(5).uniform(-0.5, 0.5, (BATCH_SIZE, detector.window)).astype(np.float32)
    expected = detector.batch_logits(waves)
    for shift in range(1, BATCH_SIZE):
        np.testing.assert_array_equal(detector.batch_logits(np.roll(waves, shift, axis=0)), np.roll(expected, shift, 0))
    alone = np.concatenate([waves[:1], np.zeros_like(waves[1:])])
    np.testing.assert_array_equal(detector.batch_logits(alone)[0], expected[0])
