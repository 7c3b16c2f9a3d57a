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

from aasist_jax.commands import exit_codes, options
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
    weights: options.Weights = None,
    rate: Annotated[int, typer.Option(help="Sample rate of what comes in, in Hz.")] = 16_000,
    channels: Annotated[int, typer.Option(min=1, max=32, help="Channels of what comes in; they are averaged.")] = 1,
    encoding: Annotated[Encoding, typer.Option(help="Type of the samples on standard input.")] = Encoding.s16le,
    microphone: Annotated[
        bool, typer.Option("--microphone", help="Listen to a microphone (extra `microphone`), not to standard input.")
    ] = False,
    microphone_device: Annotated[
        str | None, typer.Option(help="Number or name of the microphone.", rich_help_panel=options.RARE)
    ] = None,
    format: Annotated[
        Format, typer.Option(help="table: lines for people; jsonl: one JSON object a line.")
    ] = Format.table,
    hop: options.Hop = None,
    sure: options.Sure = 0.9,
    prior: options.SyntheticPrior = 0.5,
    fail_on_synthetic: options.FailOnSynthetic = False,
    exact: options.Exact = False,
) -> None:
    """Print the events of a live source until it ends, or until Ctrl-C."""
    rule = options.decision_rule(prior, sure)

    from aasist_jax.audio.limits import SAMPLE_RATE
    from aasist_jax.detection import live_input

    detector = options.judging_detector(weights, rule)
    if hop is None:
        hop = min(HOP_SECONDS, detector.window / SAMPLE_RATE)

    def source(stopped: Callable[[], bool]) -> Iterable[Any]:
        if microphone:
            return live_input.microphone(rate, channels, microphone_device, stopped)
        return live_input.standard_input(encoding.value, channels, stopped)

    def begin() -> Any:
        return detector.stream(rate, hop=hop, exact=exact, rule=rule)

    rehearse(detector, begin(), rate)
    label = _print_events(begin(), source, as_json=format is Format.jsonl)
    if fail_on_synthetic and label == "synthetic":
        raise typer.Exit(exit_codes.SYNTHETIC)


def rehearse(detector: Any, stream: Any, rate: int) -> None:
    """Have everything compiled before the first window comes, which then need not wait for it."""
    import numpy as np

    from aasist_jax.audio.limits import SAMPLE_RATE

    stream.push(np.zeros(round((detector.window / SAMPLE_RATE + 1) * rate), np.float32))
    stream.finish()
    # The windows of the verdict that are silent, as those were, do not reach the model.
    detector.logits(np.random.default_rng(0).normal(0, 0.01, (1, detector.window)).astype(np.float32))


def _print_events(stream: Any, source: Callable[[Callable[[], bool]], Iterable[Any]], *, as_json: bool) -> str:
    """Print the events, and return the label of the verdict; '' if nothing came."""
    from aasist_jax.detection.live import Ended, event_dict, live_events

    label = ""
    with Interrupt() as interrupt:
        say("listening; Ctrl-C ends it")
        for event in live_events(stream, source(lambda: interrupt.requested)):
            print(json.dumps(event_dict(event)) if as_json else event_line(event), flush=True)
            if isinstance(event, Ended):
                label = event.result.label or ""
    return label


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
    from aasist_jax.detection.live import Alarm, Heard
    from aasist_jax.detection.timeline_text import clock, sentence

    if isinstance(event, Heard):
        window = event.judged.window
        score = "" if window.score is None else f"{window.score:+8.3f}"
        so_far, verdict = str(event.result.label), event.result.verdict
        if verdict is not None and verdict.p_synthetic is not None:
            so_far += f" ({verdict.rule.told(verdict.p_synthetic, digits=2)})"
        return f"{clock(window.end)}  {event.judged.label:9}  {score:8}  so far {so_far}"
    if isinstance(event, Alarm):
        return (
            f"*** {clock(event.raised)} ALARM: synthetic, P(synthetic) {event.p_synthetic:.3f}, since "
            f"{clock(event.start)}"
        )
    lines = [f"--- {clock(each.start)} to {clock(each.end)}: {each.label}" for each in event.segments]
    return "\n".join([*lines, f"=== {event.result.label}. {sentence(event.result)}"])
