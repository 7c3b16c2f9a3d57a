"""Scores many recordings: threads decode ahead, and windows of several recordings share batches."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aasist_jax.audio.source import is_source, source_name
from aasist_jax.detection.result import Prepared, Score
from aasist_jax.errors import AudioError
from aasist_jax.runtime.progress import with_progress

if TYPE_CHECKING:
    from aasist_jax.detection.detector import Detector

BATCH_SIZE = 8
"""Windows that are scored at once."""

Windows = Literal["first", "all"]
"""Which windows of a recording are scored; see `Detector.score`."""

AHEAD_BYTES = 64 << 20
"""Limit on decoded windows that wait for the model; beyond it, no further recording is decoded."""

Source = Callable[[], Any]
"""Returns the input of `Detector.prepare`; called in a thread."""


@dataclass(frozen=True)
class InTurn:
    """A source that may never end, such as standard input. It is read after all recordings before it are scored.

    The consumer reads it, not a thread of the pool, because Python cannot exit while such a thread is waiting.
    """

    source: Source


def batch_size_for(recordings: int, windows: Windows) -> int:
    """The batch size for a job: a single size, so that one program is compiled, but small for a small job.

    It depends only on the whole job, so that a resumed job computes the same numbers.
    """
    return BATCH_SIZE if windows == "all" else min(BATCH_SIZE, 1 << max(recordings - 1, 0).bit_length())


def check_windows(windows: str) -> None:
    """Raise an AudioError if these are no `Windows`."""
    if windows not in ("first", "all"):
        raise AudioError(f"windows: expected 'first' or 'all', got {windows!r}")


def score_many(
    detector: "Detector",
    recordings: Iterable[Any],
    *,
    progress: bool = False,
    windows: Windows = "first",
    channel: int | None = None,
) -> Iterator[Score | AudioError]:
    """Score inputs of `Detector.score`; see `Detector.score_many`."""
    check_windows(windows)
    one = "(array, sample_rate)" if _is_wave(recordings) else type(recordings).__name__
    if is_source(recordings) or _is_wave(recordings) or not isinstance(recordings, Iterable):
        raise AudioError(f"score_many: expected many recordings, got {one}; `score` takes one, or give a list of one")
    count = len(recordings) if isinstance(recordings, Sized) else None
    size = BATCH_SIZE if count is None else batch_size_for(count, windows)
    sources = (partial(_itself, recording) for recording in recordings)
    results = score_in_batches(detector, sources, windows=windows, channel=channel, batch_size=size)
    if progress:
        return with_progress(results, description="Scoring", total=count, lines="now and then")
    return results


def _is_wave(recordings: Any) -> bool:
    """Whether this is one `(array, sample_rate)`."""
    is_pair = isinstance(recordings, tuple) and len(recordings) == 2
    return is_pair and not is_source(recordings[0]) and isinstance(recordings[1], int | float | np.number)


def _itself(recording: Any) -> Any:
    return recording


def score_in_batches(
    detector: "Detector",
    sources: Iterable[Source | InTurn],
    *,
    windows: Windows = "first",
    channel: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Score | AudioError]:
    """Score recordings as `Detector.score` does; for a recording that cannot be scored, yield the error.

    Memory is bounded, whatever the number of recordings. With `first`, the bound is the decoded windows that wait
    (`AHEAD_BYTES`) and one block per thread, because recordings are decoded block by block and only their start is
    kept. With `all`, a single thread decodes, and the bound is the windows that wait, those of the recording that is
    being scored, and three times the next recording (its samples and their copies while it is cut into windows). A
    recording that is too long for this gives an AudioError.

    Args:
        detector: the model.
        sources: the recordings to score.
        windows: as in `Detector.score`.
        channel: as in `Detector.score`.
        batch_size: windows per batch; the last batch is filled up with zeros.

    Yields:
        One result per source, in the order of the sources, as soon as its batches are done.
    """

    def prepare(source: Source) -> Prepared | AudioError:
        name = "the recording"
        try:
            audio = source()
            name = source_name(audio) if is_source(audio) else "the audio"
            return detector.prepare(audio, windows=windows, channel=channel)
        except AudioError as error:
            return error
        except MemoryError:
            way_out = "split it, or score its first window alone" if windows == "all" else "split it"
            return AudioError(f"{name}: too long to hold in memory; {way_out}")

    waiting: deque[_Unfinished] = deque()
    batch: list[tuple[_Unfinished, int]] = []
    threads = 1 if windows == "all" else min(4, os.cpu_count() or 1)
    with closing(_ahead(prepare, sources, threads)) as results:
        for result in results:
            if isinstance(result, InTurn):
                if batch:
                    _run(detector, batch, batch_size)
                    yield from _finished(detector, waiting)
                unfinished = _Unfinished(prepare(result.source))
            else:
                unfinished = _Unfinished(result)
            waiting.append(unfinished)
            for row in range(unfinished.count()):
                batch.append((unfinished, row))
                if len(batch) == batch_size:
                    _run(detector, batch, batch_size)
            yield from _finished(detector, waiting)
        if batch:
            _run(detector, batch, batch_size)
            yield from _finished(detector, waiting)


@dataclass(eq=False)
class _Unfinished:
    """A recording that is being scored, and the logits of its windows so far."""

    result: Prepared | AudioError
    logits: list[np.ndarray] = field(default_factory=list)

    def count(self) -> int:
        return len(self.result.windows) if isinstance(self.result, Prepared) else 0

    def is_finished(self) -> bool:
        return len(self.logits) == self.count()


def _run(detector: "Detector", batch: list[tuple[_Unfinished, int]], batch_size: int) -> None:
    waves = np.zeros((batch_size, detector.window), np.float32)
    # The rows that fill up the batch get the full length, because a length must not be 0.
    lengths = None if detector.window_rule.fixed else np.full(batch_size, detector.window, np.int32)
    for i, (unfinished, row) in enumerate(batch):
        prepared = unfinished.result
        assert isinstance(prepared, Prepared)
        waves[i] = prepared.windows[row]
        if lengths is not None and prepared.lengths is not None:
            lengths[i] = prepared.lengths[row]
    for (unfinished, _), logits in zip(batch, detector.batch_logits(waves, lengths), strict=False):
        unfinished.logits.append(logits)
    batch.clear()


def _finished(detector: "Detector", waiting: deque[_Unfinished]) -> Iterator[Score | AudioError]:
    """Yield the results of the recordings at the front that are finished."""
    while waiting and waiting[0].is_finished():
        unfinished = waiting.popleft()
        if isinstance(unfinished.result, AudioError):
            yield unfinished.result
            continue
        try:
            yield detector.judge(unfinished.result, np.array(unfinished.logits, np.float32).reshape(-1, 2))
        except AudioError as error:
            yield error


def _ahead(
    prepare: Callable[[Source], Prepared | AudioError], sources: Iterable[Source | InTurn], threads: int
) -> Generator[Prepared | AudioError | InTurn, None, None]:
    """Prepare in threads, ahead of the consumer, in the order of the sources; `InTurn` sources are passed through."""
    left = iter(sources)
    begun: deque[Future[Prepared | AudioError] | InTurn] = deque()
    lock = threading.Lock()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    busy, held, is_open = 0, 0, True

    def submit() -> None:
        nonlocal busy
        while is_open and busy < threads and held < AHEAD_BYTES and (source := next(left, None)) is not None:
            if isinstance(source, InTurn):
                begun.append(source)
                continue
            busy += 1
            begun.append(pool.submit(prepare_and_submit, source))

    def prepare_and_submit(source: Source) -> Prepared | AudioError:
        nonlocal busy, held
        result = prepare(source)
        with lock:
            busy -= 1
            held += _size(result)
            submit()
        return result

    try:
        with lock:
            submit()
        while begun:
            item = begun.popleft()
            if isinstance(item, InTurn):
                yield item
                continue
            result = item.result()
            yield result
            with lock:
                held -= _size(result)
                submit()
    finally:
        with lock:
            is_open = False
        # Do not wait here for recordings that are still being decoded; Python waits for them at exit.
        pool.shutdown(wait=False, cancel_futures=True)


def _size(result: Prepared | AudioError) -> int:
    """Approximate size of a result in bytes; never 0, so that the number of waiting results is bounded, too."""
    return 1 << 10 if isinstance(result, AudioError) else (1 << 10) + result.windows.nbytes
