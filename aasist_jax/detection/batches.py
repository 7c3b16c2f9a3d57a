"""Scores many recordings: threads decode ahead, and windows of several recordings share batches."""

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from aasist_jax.audio.source import is_source, source_name
from aasist_jax.detection.cutting import Cut
from aasist_jax.detection.model import GROUP, ReadOut
from aasist_jax.detection.result import Prepared, Score
from aasist_jax.detection.verdict import DecisionRule
from aasist_jax.errors import AudioError
from aasist_jax.runtime.progress import with_progress

if TYPE_CHECKING:
    from aasist_jax.detection.detector import Detector

AHEAD_BYTES = 64 << 20
"""Limit on decoded windows that wait for the model; beyond it, no further recording is decoded."""

Source = Callable[[], Any]
"""Returns the input of `Detector.prepare`; called in a thread."""


Result = TypeVar("Result")


@dataclass(frozen=True)
class InTurn:
    """A source that may never end, such as standard input. It is read after all recordings before it are scored.

    The consumer reads it, not a thread of the pool, because Python cannot exit while such a thread is waiting.
    """

    source: Source


@dataclass(frozen=True)
class OneChannel:
    """What a source returns of which one channel is meant, whatever is meant of the others."""

    audio: Any
    channel: int


def score_many(
    detector: "Detector", recordings: Iterable[Any], *, progress: bool, **how: Any
) -> Iterator[Score | AudioError]:
    """Score inputs of `Detector.score`; see `Detector.score_many`. `how` are its other options."""
    one = "(array, sample_rate)" if _is_wave(recordings) else type(recordings).__name__
    if is_source(recordings) or _is_wave(recordings) or not isinstance(recordings, Iterable):
        raise AudioError(f"score_many: expected many recordings, got {one}; `score` takes one, or give a list of one")
    count = len(recordings) if isinstance(recordings, Sized) else None
    sources = (partial(_itself, recording) for recording in recordings)
    results = detector.score_sources(sources, **how)
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
    channel: int | None = None,
    rule: DecisionRule | None = None,
    published: bool = False,
) -> Iterator[Score | AudioError]:
    """Score recordings as `Detector.score` does; for a recording that cannot be scored, yield the error.

    Args:
        detector: the model.
        sources: the recordings to score.
        channel: as in `Detector.score`.
        rule: as in `Detector.score`.
        published: as in `Detector.score`.

    Yields:
        One result per source, in the order of the sources, as soon as its batches are done.
    """
    for read in read_in_batches(detector, sources, channel=channel, published=published):
        if isinstance(read, AudioError):
            yield read
            continue
        try:
            yield detector.judge(*read, rule=rule)
        except AudioError as error:
            yield error


def read_in_batches(
    detector: "Detector",
    sources: Iterable[Source | InTurn],
    *,
    channel: int | None = None,
    published: bool = False,
) -> Iterator[tuple[Prepared, ReadOut] | AudioError]:
    """Run the model over recordings: what `Detector.judge` takes of each, or the error of one that cannot be read.

    Memory is bounded, whatever the number of recordings: the windows that wait (`AHEAD_BYTES`), those of the recording
    that is being scored, and for each thread those of the recording that it cuts. A recording that is too long for this
    gives an AudioError.

    Args:
        detector: the model.
        sources: the recordings.
        channel: as in `Detector.score`.
        published: as in `Detector.score`.
    """

    prepare = partial(_or_error, partial(detector.prepare, published=published), channel=channel)
    waiting: deque[_Unfinished] = deque()
    batch: list[tuple[_Unfinished, int]] = []
    threads = min(4, os.cpu_count() or 1)
    with closing(_ahead(prepare, sources, threads)) as results:
        for result in results:
            if isinstance(result, InTurn):
                if batch:
                    _run(detector, batch)
                    yield from _finished(waiting)
                unfinished = _Unfinished(prepare(result.source))
            else:
                unfinished = _Unfinished(result)
            waiting.append(unfinished)
            for row in range(len(unfinished.heard)):
                batch.append((unfinished, row))
                if len(batch) == GROUP:
                    _run(detector, batch)
            yield from _finished(waiting)
        if batch:
            _run(detector, batch)
            yield from _finished(waiting)


def score_in_turn(
    score: Callable[..., Score], sources: Iterable[Source | InTurn], *, channel: int | None = None, **how: Any
) -> Iterator[Score | AudioError]:
    """Score recordings one after the other; for one that cannot be scored, yield the error.

    Args:
        score: as `Detector.score`.
        sources: the recordings.
        channel: as in `Detector.score`.
        how: its other options.
    """
    for source in sources:
        opened = source.source if isinstance(source, InTurn) else source
        yield _or_error(partial(score, **how), opened, channel=channel)


def _or_error(work: Callable[..., Result], source: Source, *, channel: int | None) -> Result | AudioError:
    """What `work` makes of a recording and a channel, or why the recording cannot be read."""
    name = "the recording"
    try:
        audio, side = source(), channel
        if isinstance(audio, OneChannel):
            audio, side = audio.audio, audio.channel
        name = source_name(audio) if is_source(audio) else "the audio"
        return work(audio, channel=side)
    except AudioError as error:
        return error
    except MemoryError:
        return AudioError(f"{name}: too long to hold in memory; `timeline` takes it, or split it")


@dataclass(eq=False)
class _Unfinished:
    """A recording that is being scored, and what the model gave for its windows so far."""

    result: Prepared | AudioError
    values: list[np.ndarray] = field(default_factory=list)

    @functools.cached_property
    def heard(self) -> tuple[Cut, ...]:
        return self.result.heard if isinstance(self.result, Prepared) else ()

    def is_finished(self) -> bool:
        return len(self.values) == len(self.heard)


def _run(detector: "Detector", batch: list[tuple[_Unfinished, int]]) -> None:
    cuts = [unfinished.heard[row] for unfinished, row in batch]
    waves = np.stack([cut.wave for cut in cuts if cut.wave is not None])
    lengths = None if detector.window_rule.fixed else np.array([cut.length for cut in cuts], np.int32)
    for (unfinished, _), values in zip(batch, detector.batch_read_out(waves, lengths), strict=True):
        unfinished.values.append(values)
    batch.clear()


def _finished(waiting: deque[_Unfinished]) -> Iterator[tuple[Prepared, ReadOut] | AudioError]:
    """Yield the recordings at the front that are finished."""
    while waiting and waiting[0].is_finished():
        unfinished = waiting.popleft()
        if isinstance(unfinished.result, AudioError):
            yield unfinished.result
        else:
            yield unfinished.result, np.array(unfinished.values or np.empty((0, 2)), np.float32)


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
    held = () if isinstance(result, AudioError) else result.heard
    return (1 << 10) + sum(cut.wave.nbytes for cut in held if cut.wave is not None)
