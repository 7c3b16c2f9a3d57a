"""Score many recordings: decoding runs ahead in threads, and windows of several recordings share batches."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aasist_jax.detection.detector import BATCH_SIZE, Detector, Prepared, Score, Windows
from aasist_jax.errors import AudioError

AHEAD_BYTES = 64 << 20
"""Decoded windows that may wait for the model: no recording is begun beyond that."""

Source = Callable[[], Any]
"""Gives what `Detector.prepare` takes, when it is called in a thread."""


def batch_size_for(recordings: int, windows: Windows) -> int:
    """The one batch size for a job, so that one program is compiled: a small job does not pay for a full batch.

    It follows from the job alone, so that a job taken up again computes the same numbers.
    """
    return BATCH_SIZE if windows == "all" else min(BATCH_SIZE, 1 << max(recordings - 1, 0).bit_length())


def score_in_batches(
    detector: Detector,
    sources: Iterable[Source],
    *,
    windows: Windows = "first",
    channel: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Score | AudioError]:
    """Score recordings as `Detector.score` does; one that cannot be scored gives the error.

    Memory is bounded, whatever the number of recordings: with `first`, by one decoded recording a thread; with `all`,
    where a single thread decodes, by two recordings.

    Args:
        detector: the model.
        sources: what to score.
        windows: as in `Detector.score`.
        channel: as in `Detector.score`.
        batch_size: windows a batch; the last one is filled up with zeros.

    Yields:
        One result a source, in their order, as soon as its batches are done.
    """

    def prepare(source: Source) -> Prepared | AudioError:
        try:
            return detector.prepare(source(), windows=windows, channel=channel)
        except AudioError as error:
            return error

    waiting: deque[_Unfinished] = deque()
    batch: list[tuple[_Unfinished, np.ndarray]] = []
    threads = 1 if windows == "all" else min(4, os.cpu_count() or 1)
    with closing(_ahead(prepare, sources, threads)) as results:
        for result in results:
            unfinished = _Unfinished(result)
            waiting.append(unfinished)
            for window in unfinished.windows():
                batch.append((unfinished, window))
                if len(batch) == batch_size:
                    _run(detector, batch, batch_size)
            yield from _finished(detector, waiting)
        if batch:
            _run(detector, batch, batch_size)
            yield from _finished(detector, waiting)


@dataclass(eq=False)
class _Unfinished:
    """A recording on its way, and the logits of its windows so far."""

    result: Prepared | AudioError
    logits: list[np.ndarray] = field(default_factory=list)

    def windows(self) -> np.ndarray | tuple[()]:
        return self.result.windows if isinstance(self.result, Prepared) else ()

    def is_finished(self) -> bool:
        return len(self.logits) == len(self.windows())


def _run(detector: Detector, batch: list[tuple[_Unfinished, np.ndarray]], batch_size: int) -> None:
    waves = np.zeros((batch_size, detector.window), np.float32)
    for row, (_, window) in enumerate(batch):
        waves[row] = window
    for (unfinished, _), logits in zip(batch, detector.batch_logits(waves), strict=False):
        unfinished.logits.append(logits)
    batch.clear()


def _finished(detector: Detector, waiting: deque[_Unfinished]) -> Iterator[Score | AudioError]:
    """Take what is finished from the front."""
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
    prepare: Callable[[Source], Prepared | AudioError], sources: Iterable[Source], threads: int
) -> Generator[Prepared | AudioError, None, None]:
    """Prepare in threads, ahead of the consumer, in the order of the sources."""
    left = iter(sources)
    futures: deque[Future[Prepared | AudioError]] = deque()
    lock = threading.Lock()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    busy, held, is_open = 0, 0, True

    def submit() -> None:
        nonlocal busy
        while is_open and busy < threads and held < AHEAD_BYTES and (source := next(left, None)) is not None:
            busy += 1
            futures.append(pool.submit(work, source))

    def work(source: Source) -> Prepared | AudioError:
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
        while futures:
            result = futures.popleft().result()
            yield result
            with lock:
                held -= _size(result)
                submit()
    finally:
        with lock:
            is_open = False
        # Nobody waits for a recording that is still being decoded.
        pool.shutdown(wait=False, cancel_futures=True)


def _size(result: Prepared | AudioError) -> int:
    """Bytes that a result holds, roughly, and never none, so that the number of those that wait is bounded too."""
    return 1 << 10 if isinstance(result, AudioError) else (1 << 10) + result.windows.nbytes
