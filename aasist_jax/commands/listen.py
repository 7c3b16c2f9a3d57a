"""Live detection: the work behind `aasist-jax listen`."""

import json
import os
import queue
import select
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

import numpy as np

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.commands.timeline_output import clock, segment_dict, window_dict
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.stream import Stream
from aasist_jax.detection.timeline import Rule, Segment, Segmenter, SegmentLabel, WindowScore
from aasist_jax.errors import AudioError

ENCODINGS = {"s16le": "<i2", "f32le": "<f4"}
READ_BYTES = 1 << 16
POLL_SECONDS = 0.2
HOP_SECONDS = 0.5
MICROPHONE_SECONDS, MICROPHONE_BACKLOG = 0.1, 300
"""Length of a chunk from the microphone, and how many may wait."""


class Interrupt:
    """Context in which the first SIGINT asks to stop, and a second one interrupts."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "Interrupt":
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def standard_input(encoding: str, channels: int, stopped: Callable[[], bool]) -> Iterator[np.ndarray]:
    """Raw samples from standard input, as they come, (samples, channels), until it ends or `stopped` says so.

    Raises:
        AudioError: standard input is a terminal, or ends in the midst of a sample.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError("no audio on standard input: pipe raw samples into the command, or give --microphone")
    kind = np.dtype(ENCODINGS[encoding])
    size, rest = kind.itemsize * channels, b""
    descriptor = sys.stdin.fileno()
    while not stopped():
        # Not a read that waits for ever: it would outlast a signal.
        if not select.select([descriptor], [], [], POLL_SECONDS)[0]:
            continue
        data = os.read(descriptor, READ_BYTES)
        if not data:
            if rest:
                raise AudioError(
                    f"standard input: ends {len(rest)} bytes into a sample of {size}; check --encoding and --channels"
                )
            return
        data = rest + data
        whole = len(data) // size * size
        rest = data[whole:]
        yield np.frombuffer(data[:whole], kind).reshape(-1, channels)


def microphone(rate: int, channels: int, device: str | None, stopped: Callable[[], bool]) -> Iterator[np.ndarray]:
    """Samples from a microphone, until `stopped` says so.

    Raises:
        AudioError: the extra `microphone` or PortAudio is not installed, there is no such device, or the samples are
            not taken fast enough.
    """
    try:
        import sounddevice
    except ImportError:
        raise AudioError("--microphone: pip install 'aasist-jax[microphone]', or pipe raw samples in") from None
    except OSError as error:
        raise AudioError(f"--microphone: {error}; install PortAudio (libportaudio2), or pipe raw samples in") from None
    chunks: queue.Queue[np.ndarray] = queue.Queue(MICROPHONE_BACKLOG)
    lost = False

    def take(samples: np.ndarray, frames: int, time: Any, status: Any) -> None:
        nonlocal lost
        try:
            chunks.put_nowait(samples.copy())
        except queue.Full:
            lost = True

    name = int(device) if device is not None and device.isdigit() else device
    block = round(MICROPHONE_SECONDS * rate)
    try:
        with sounddevice.InputStream(rate, block, device=name, channels=channels, dtype="float32", callback=take):
            while not stopped():
                if lost:
                    raise AudioError("--microphone: this machine is too slow for it; give a longer --hop")
                try:
                    yield chunks.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(f"--microphone: {error}") from None


@dataclass(frozen=True)
class Judged:
    """A window, and the label of the segment that it belongs to."""

    window: WindowScore
    label: SegmentLabel


@dataclass(frozen=True)
class Alarm:
    """A spoof segment has lasted long enough.

    Attributes:
        start: where the segment begins, in seconds.
        raised: the end of the window that raised the alarm, in seconds.
    """

    start: float
    raised: float


Event = Judged | Alarm | Segment


def live_events(stream: Stream, chunks: Iterable[Any], rule: Rule) -> Iterator[Event]:
    """Score chunks as they come: every window, an alarm once in a spoof segment, and segments as they end.

    Where the source fails, what came before is told to its end, and then the error raised.
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
    """An event for JSON; its `type` is window, alarm or segment."""
    if isinstance(event, Judged):
        return {"type": "window"} | window_dict(event.window) | {"label": event.label}
    if isinstance(event, Alarm):
        return {"type": "alarm"} | asdict(event)
    return {"type": "segment"} | segment_dict(event)


def event_line(event: Event) -> str:
    """An event for people."""
    if isinstance(event, Judged):
        score = "" if event.window.score is None else f"{event.window.score:+8.3f}"
        return f"{clock(event.window.end)}  {event.label:8}  {score}".rstrip()
    if isinstance(event, Alarm):
        return f"*** {clock(event.raised)} ALARM: spoof since {clock(event.start)}"
    mean = "" if event.mean is None else f", mean score {event.mean:+.3f}"
    return f"--- {clock(event.start)} to {clock(event.end)}: {event.label}{mean}"


def listen(
    detector: Detector,
    source: Callable[[Callable[[], bool]], Iterable[Any]],
    *,
    sample_rate: int,
    hop: float | None,
    exact: bool,
    vad: bool,
    rule: Rule,
    as_json: bool,
) -> None:
    """Print the events of a live source until it ends, or until Ctrl-C.

    Args:
        detector: the model.
        source: gives the chunks, told what to ask whether to stop.
        sample_rate: of the chunks.
        hop: seconds from one window to the next; None for half a second, or a window where that is shorter.
        exact: as in `Detector.stream`, and so is `vad`.
        vad: do not judge windows without speech.
        rule: when to raise an alarm.
        as_json: print an object a line, for programs.
    """
    if hop is None:
        hop = min(HOP_SECONDS, detector.window / SAMPLE_RATE)

    def begin() -> Stream:
        return detector.stream(sample_rate, hop=hop, exact=exact, vad=vad)

    # Compiled now, so that the first window need not wait for it.
    rehearsal = begin()
    rehearsal.push(np.zeros(round((detector.window / SAMPLE_RATE + 1) * sample_rate), np.float32))
    rehearsal.finish()
    with Interrupt() as interrupt:
        print("listening; Ctrl-C ends it", file=sys.stderr, flush=True)
        for event in live_events(begin(), source(lambda: interrupt.requested), rule):
            print(json.dumps(event_dict(event)) if as_json else event_line(event), flush=True)
