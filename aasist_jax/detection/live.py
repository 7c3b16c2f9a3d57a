"""Live detection: reports windows, alarms and segments while audio arrives."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from aasist_jax.detection.stream import Stream
from aasist_jax.detection.timeline import Rule, Segment, Segmenter, SegmentLabel, WindowScore
from aasist_jax.detection.timeline_text import segment_dict, window_dict
from aasist_jax.errors import AudioError


@dataclass(frozen=True)
class Judged:
    """A window, and the label of the segment that it belongs to."""

    window: WindowScore
    label: SegmentLabel


@dataclass(frozen=True)
class Alarm:
    """A spoof segment has lasted at least `min_spoof` (see `Rule`).

    Attributes:
        start: where the segment begins, in seconds.
        raised: the end of the window that raised the alarm, in seconds.
    """

    start: float
    raised: float


Event = Judged | Alarm | Segment


def live_events(stream: Stream, chunks: Iterable[Any], rule: Rule) -> Iterator[Event]:
    """Score chunks as they arrive and yield every window, one alarm per spoof segment, and segments when they end.

    If the source fails, the audio received before is scored to its end, and then the error is raised.
    """
    segmenter, alarmed = Segmenter(rule), False
    faults: list[AudioError] = []
    for window in _scored(stream, chunks, faults):
        closed = segmenter.push(window)
        if closed is not None:
            yield closed
        if segmenter.label is not None:
            yield Judged(window, segmenter.label)
        if segmenter.alarm_since is not None and not alarmed:
            yield Alarm(segmenter.alarm_since, window.end)
        alarmed = segmenter.alarm_since is not None
    last = segmenter.finish(stream.seconds)
    if last is not None:
        yield last
    if faults:
        raise faults[0]


def _scored(stream: Stream, chunks: Iterable[Any], faults: list[AudioError]) -> Iterator[WindowScore]:
    try:
        for chunk in chunks:
            yield from stream.push(chunk)
    except AudioError as error:
        faults.append(error)
    yield from stream.finish()


def event_dict(event: Event) -> dict[str, Any]:
    """An event as a dictionary for JSON; its `type` is window, alarm or segment."""
    if isinstance(event, Judged):
        return {"type": "window"} | window_dict(event.window) | {"label": event.label}
    if isinstance(event, Alarm):
        return {"type": "alarm"} | asdict(event)
    return {"type": "segment"} | segment_dict(event)
