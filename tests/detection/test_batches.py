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
from aasist_jax.detection.batches import InTurn, score_in_batches
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.model import GROUP
from aasist_jax.errors import AudioError
from aasist_jax.ops.native.build import native_kernels
from aasist_jax.weights.folder import Source, save_weights
from tests.made_speech import made_speech
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
    waves = [made_speech(float(rng.uniform(500, 9 * WINDOW)) / 16_000, seed) for seed in range(count)]
    waves[4] = np.zeros(20_000, np.float32)
    return [(wave, 16_000) for wave in waves]


@pytest.mark.parametrize("is_published", [True, False])
def test_the_scores_are_those_of_one_at_a_time(detector: Detector, is_published: bool) -> None:
    """To the bit, whatever shares a batch with them."""
    audio = recordings(21)
    sources = [partial(lambda item: item, item) for item in audio]
    found = list(score_in_batches(detector, sources, published=is_published))
    assert found == [detector.score(item, published=is_published) for item in audio]


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
    for is_published in (True, False):
        expected = detector.score((pcm, rate), published=is_published)
        for many in (inputs, tuple(inputs), iter(inputs)):
            found = list(detector.score_many(many, published=is_published, progress=True))
            assert [type(result) for result in found] == [Score, AudioError, AudioError, AudioError, *[Score] * 4]
            assert all(result == expected for result in found if isinstance(result, Score))
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
    call = np.stack([wave, 0.1 * wave], axis=1)
    found = [*detector.score_many([(call, rate)], channel=0), *detector.score_many([(call, rate)], channel=1)]
    assert found == [detector.score((call, rate), channel=side) for side in (0, 1)]
    assert found[0] != found[1]


@pytest.mark.parametrize("one", ["a.wav", b"RIFF", io.BytesIO(b"RIFF"), (np.zeros(100), 16_000)])
def test_one_recording_is_not_many(detector: Detector, one: Any) -> None:
    with pytest.raises(AudioError, match=r"^score_many: expected many recordings, got .*; `score` takes one, or give"):
        detector.score_many(one)


def test_every_batch_has_one_shape() -> None:
    """One program is compiled, for one recording, for many, and for a single window."""
    fresh = Detector(toy_weights())
    list(fresh.score_many(recordings(21)))
    for count in (1, 2, 3, 8, 11):
        list(fresh.score_many(recordings(5)[:count]))
        fresh.logits(np.zeros((count, WINDOW), np.float32))
    fresh.score(recordings(5)[0])
    assert fresh._read_out._cache_size() == 1


def test_faults_stay_with_their_recording(detector: Detector) -> None:
    def broken() -> Any:
        raise AudioError("broken: on purpose")

    loud = (np.float32(3e38) * np.sign(made_speech(0.5)), 16_000)
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
    whole = list(score_in_batches(detector, [*sources, no_room]))
    assert [isinstance(result, Score) for result in whole] == [False, *[True] * 5, False]
    assert str(whole[0]) == "'a\\nday.wav': too long to hold in memory; `timeline` takes it, or split it"
    assert str(whole[-1]) == "the recording: too long to hold in memory; `timeline` takes it, or split it"


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
    for result in score_in_batches(detector, sources):
        found.append(result)
        done += 1
    assert found == [detector.score(item) for item in audio]
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
        return np.float32(0.02 * (1 + index)) * window, 16_000

    window = made_speech(WINDOW / 16_000)

    results = score_in_batches(detector, [partial(source, index) for index in range(60)])
    first = next(results)
    time.sleep(0.5)
    # Eight in the batch that was run, ten that wait, and what the four threads had in hand.
    assert 8 < len(begun) <= 8 + 10 + 4 + 1
    assert most > 1
    found = [first, *results]
    # Threads may overtake one another on the way to this list.
    assert sorted(begun) == list(range(60))
    assert found == [detector.score(source(index)) for index in range(60)]
    assert len({result.score for result in found if isinstance(result, Score)}) == 60


def test_who_stops_listening_waits_for_no_decoder(detector: Detector) -> None:
    release = threading.Event()

    def source(index: int) -> tuple[np.ndarray, int]:
        if index >= 8:
            release.wait(20)
        return window, 16_000

    window = made_speech(WINDOW / 16_000)

    results = score_in_batches(detector, [partial(source, index) for index in range(100)])
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
    waves = np.random.default_rng(5).uniform(-0.5, 0.5, (GROUP, detector.window)).astype(np.float32)
    expected = detector.batch_logits(waves)
    for shift in range(1, GROUP):
        np.testing.assert_array_equal(detector.batch_logits(np.roll(waves, shift, axis=0)), np.roll(expected, shift, 0))
    for count in range(1, GROUP):
        np.testing.assert_array_equal(detector.batch_logits(waves[:count]), expected[:count])


def test_a_group_is_encoded_at_once_only_where_that_changes_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Detector.from_pretrained(save_weights(tmp_path, CONFIG, random_variables(), Source("tiny.pth", "0")))
    waves = np.random.default_rng(1).uniform(-0.3, 0.3, (GROUP, tiny.window)).astype(np.float32)
    rows = tiny._rows_read_out(waves, None)
    np.testing.assert_array_equal(tiny.batch_read_out(waves), rows)
    if native_kernels():
        assert tiny._groups_round_alike

    other = Detector(tiny.weights)
    encode = other._encode_windows
    monkeypatch.setattr(other, "_encode_windows", lambda waves: encode(waves) * np.float32(1 + 1e-6))
    np.testing.assert_array_equal(other.batch_read_out(waves), rows)
    assert not other._groups_round_alike
