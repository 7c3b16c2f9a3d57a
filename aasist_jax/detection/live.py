"""Live detection: reports windows, alarms and the verdict so far while audio arrives."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aasist_jax.detection.result import Score
from aasist_jax.detection.stream import Stream
from aasist_jax.detection.timeline import JudgedWindow, Segment, segments
from aasist_jax.errors import AudioError


@dataclass(frozen=True)
class Alarm:
    """What was heard so far is synthetic, and was not before.

    Attributes:
        start: where the earliest synthetic segment begins, in seconds; 0 if no part stands out from the whole.
        raised: seconds heard when the alarm was raised.
        p_synthetic: probability that what was heard is synthetic, wholly or in part.
    """

    start: float
    raised: float
    p_synthetic: float


@dataclass(frozen=True)
class Heard:
    """A window was heard.

    Attributes:
        judged: the window, with its label given all that was heard so far.
        result: the result for what was heard so far.
    """

    judged: JudgedWindow
    result: Score


@dataclass(frozen=True)
class Ended:
    """The signal has ended.

    Attributes:
        result: the result for all of it, the same as for a file of these samples.
        segments: what was heard when.
    """

    result: Score
    segments: tuple[Segment, ...]


Event = Heard | Alarm | Ended


def live_events(stream: Stream, chunks: Iterable[Any]) -> Iterator[Event]:
    """Judge chunks as they arrive; yield every window, an alarm whenever the verdict turns synthetic, and the end.

    If the source fails, the audio received before is judged to its end, and then the error is raised.
    """
    was_synthetic = False
    faults: list[AudioError] = []
    for count in _new_windows(stream, chunks, faults):
        result = stream.result()
        judged = stream.judged_windows(result)
        for each in judged[len(judged) - count :]:
            yield Heard(each, result)
        is_synthetic = result.label == "synthetic"
        if is_synthetic and not was_synthetic:
            assert result.p_synthetic is not None
            found = (each for each in segments(judged, result.seconds) if each.label == "synthetic")
            start = next((each.start for each in found), 0.0)
            yield Alarm(start, result.seconds, result.p_synthetic)
        was_synthetic = is_synthetic
    result = stream.result()
    if result.windows:
        yield Ended(result, tuple(segments(stream.judged_windows(result), result.seconds)))
    if faults:
        raise faults[0]


def _new_windows(stream: Stream, chunks: Iterable[Any], faults: list[AudioError]) -> Iterator[int]:
    """The count of windows that each chunk, and the end, complete, where there are any."""
    try:
        for chunk in chunks:
            if windows := stream.push(chunk):
                yield len(windows)
    except AudioError as error:
        faults.append(error)
    if windows := stream.finish():
        yield len(windows)


def event_dict(event: Event) -> dict[str, Any]:
    """An event as a dictionary for JSON; its `type` is window, alarm or verdict."""
    match event:
        case Heard(judged, result):
            values = judged.window.to_dict() | {"label": judged.label, "p_synthetic": judged.p_synthetic}
            return {"type": "window", **values, "verdict": result.label, "verdict_p_synthetic": result.p_synthetic}
        case Alarm():
            return {"type": "alarm", **vars(event)}
        case Ended(result, found):
            return {"type": "verdict", **result.to_dict(), "segments": [each.to_dict() for each in found]}
