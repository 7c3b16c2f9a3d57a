"""aasist-jax listen: Score audio as it comes; Ctrl-C ends it.

Audio comes from standard input as raw samples, or from a microphone. A score is printed about every half second, or
every --hop seconds. For example: ffmpeg -i URL -f s16le -ac 1 -ar 16000 - | aasist-jax listen
"""

import enum
import json
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Annotated, Any

import typer

from aasist_jax.commands.options import (
    RARE,
    Exact,
    Hop,
    Hysteresis,
    MinSpoof,
    Threshold,
    Vad,
    Weights,
    segment_rule,
    weights_folder,
)
from aasist_jax.runtime.messages import say

HOP_SECONDS = 0.5


class Format(enum.StrEnum):
    """How `listen` prints what it hears."""

    table = "table"
    jsonl = "jsonl"


class Encoding(enum.StrEnum):
    """Raw samples on standard input, little-endian."""

    s16le = "s16le"
    f32le = "f32le"


def listen(
    weights: Weights = None,
    rate: Annotated[int, typer.Option(help="Sample rate of what comes in, in Hz.")] = 16_000,
    channels: Annotated[int, typer.Option(min=1, max=32, help="Channels of what comes in; they are averaged.")] = 1,
    encoding: Annotated[Encoding, typer.Option(help="Type of the samples on standard input.")] = Encoding.s16le,
    microphone: Annotated[
        bool, typer.Option("--microphone", help="Listen to a microphone (extra `microphone`), not to standard input.")
    ] = False,
    microphone_device: Annotated[
        str | None, typer.Option(help="Number or name of the microphone.", rich_help_panel=RARE)
    ] = None,
    format: Annotated[
        Format, typer.Option(help="table: lines for people; jsonl: one JSON object a line.")
    ] = Format.table,
    hop: Hop = None,
    vad: Vad = False,
    min_spoof: MinSpoof = None,
    threshold: Threshold = None,
    hysteresis: Hysteresis = None,
    exact: Exact = False,
) -> None:
    """Print the events of a live source until it ends, or until Ctrl-C."""
    rule = segment_rule(threshold, hysteresis, min_spoof)

    from aasist_jax.audio.limits import SAMPLE_RATE
    from aasist_jax.detection import live_input
    from aasist_jax.detection.detector import Detector
    from aasist_jax.runtime.start_up import prepare_to_compute

    prepare_to_compute()
    detector = Detector.from_pretrained(weights_folder(weights))
    if hop is None:
        hop = min(HOP_SECONDS, detector.window / SAMPLE_RATE)

    def source(stopped: Callable[[], bool]) -> Iterable[Any]:
        if microphone:
            return live_input.microphone(rate, channels, microphone_device, stopped)
        return live_input.standard_input(encoding.value, channels, stopped)

    def begin() -> Any:
        return detector.stream(rate, hop=hop, exact=exact, vad=vad)

    _rehearse(begin(), detector.window / SAMPLE_RATE, rate)
    _print_events(begin(), source, rule, as_json=format is Format.jsonl)


def _rehearse(stream: Any, window_seconds: float, rate: int) -> None:
    """Have everything compiled before the first window comes, which then need not wait for it."""
    import numpy as np

    stream.push(np.zeros(round((window_seconds + 1) * rate), np.float32))
    stream.finish()


def _print_events(
    stream: Any, source: Callable[[Callable[[], bool]], Iterable[Any]], rule: Any, *, as_json: bool
) -> None:
    from aasist_jax.detection.live import event_dict, live_events

    with Interrupt() as interrupt:
        say("listening; Ctrl-C ends it")
        for event in live_events(stream, source(lambda: interrupt.requested), rule):
            print(json.dumps(event_dict(event)) if as_json else event_line(event), flush=True)


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


def event_line(event: Any) -> str:
    """An event (see `live_events`) for people."""
    from aasist_jax.detection.live import Alarm, Judged
    from aasist_jax.detection.timeline_text import clock

    if isinstance(event, Judged):
        score = "" if event.window.score is None else f"{event.window.score:+8.3f}"
        return f"{clock(event.window.end)}  {event.label:8}  {score}".rstrip()
    if isinstance(event, Alarm):
        return f"*** {clock(event.raised)} ALARM: spoof since {clock(event.start)}"
    mean = "" if event.mean is None else f", mean score {event.mean:+.3f}"
    return f"--- {clock(event.start)} to {clock(event.end)}: {event.label}{mean}"
