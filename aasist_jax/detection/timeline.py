"""Turns the scores of windows into segments and a verdict. Pure functions: no audio, no model, no files."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from aasist_jax.errors import ConfigError

SegmentLabel = Literal["bonafide", "spoof", "unjudged"]
WindowStatus = Literal["ok", "short", "silent", "no speech"]


@dataclass(frozen=True)
class WindowScore:
    """The score of one window.

    Attributes:
        start: start of the window in seconds.
        end: end of the window in seconds.
        logits: (spoof, bona fide); None if the window is not scored.
        status: `ok`; `short` for a recording shorter than a window, extended to fill it; `silent` for a window of
            constant value; `no speech` where voice activity detection is on and finds too little speech. Windows of the
            last two kinds are not scored.
    """

    start: float
    end: float
    logits: tuple[float, float] | None
    status: WindowStatus = "ok"

    @property
    def score(self) -> float | None:
        """The published score, the raw logit of bona fide."""
        return None if self.logits is None else self.logits[1]

    @property
    def margin(self) -> float | None:
        """The bona fide logit minus the spoof logit; above 0 the window is labelled bona fide."""
        return None if self.logits is None else self.logits[1] - self.logits[0]

    @property
    def centre(self) -> float:
        """The middle of the window in seconds."""
        return (self.start + self.end) / 2


@dataclass(frozen=True)
class Rule:
    """Decides which segments, and which recordings, are spoof.

    Attributes:
        enter: a spoof segment begins with a window whose margin is at most this.
        leave: a spoof segment ends before a window whose margin is above this; must be at least `enter`.
        min_spoof: a spoof segment that lasts this many seconds, from the centre of its first window to the centre of
            its last, raises an alarm and makes the recording spoof.
    """

    enter: float = -1.0
    leave: float = 1.0
    min_spoof: float = 2.0

    def __post_init__(self) -> None:
        """Check the ranges, and that `enter` is not above `leave`."""
        if not (math.isfinite(self.enter) and math.isfinite(self.leave) and self.enter <= self.leave):
            raise ConfigError(f"thresholds: expected enter <= leave, got {self.enter:g} and {self.leave:g}")
        if not (math.isfinite(self.min_spoof) and self.min_spoof >= 0):
            raise ConfigError(f"min_spoof: expected seconds, 0 or more, got {self.min_spoof:g}")

    def __str__(self) -> str:
        return (
            f"spoof if a spoof segment lasts at least {self.min_spoof:g} s, or if all that was judged is spoof; "
            f"a spoof segment begins at a margin of {self.enter:g} or less and ends above {self.leave:g}"
        )


@dataclass(frozen=True)
class Segment:
    """A run of consecutive windows with the same label.

    Borders between segments lie half-way between the centres of the neighbouring windows; the first segment begins at
    the recording's start and the last one ends at its end. `lasting` is the duration that the rule compares with
    `min_spoof`: the seconds from the centre of the first window to the centre of the last. Unlike `seconds`, it does
    not count the half windows at the recording's ends. Scores are None for an unjudged segment.
    """

    start: float
    end: float
    label: SegmentLabel
    windows: int
    lasting: float
    mean: float | None
    lowest: float | None
    highest: float | None

    @property
    def seconds(self) -> float:
        """Length of the segment."""
        return self.end - self.start


class Segmenter:
    """Merges windows into segments one by one, with hysteresis; windows without a score do not reset it."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._spoof = False
        self._label: SegmentLabel | None = None
        self._start = 0.0
        self._first = self._centre = 0.0
        self._reset()

    def _reset(self) -> None:
        self._windows = self._judged = 0
        self._sum, self._lowest, self._highest = 0.0, math.inf, -math.inf

    @property
    def label(self) -> SegmentLabel | None:
        """The label of the current segment; None before the first window."""
        return self._label

    @property
    def alarm_since(self) -> float | None:
        """Start of the current segment in seconds if it is spoof and lasts `min_spoof` by now; else None."""
        is_long = self._centre - self._first >= self.rule.min_spoof
        return self._start if self._label == "spoof" and is_long else None

    def push(self, window: WindowScore) -> Segment | None:
        """Take the next window and return the segment that ends before it, if any."""
        label = self._judge(window.margin)
        closed = None
        if self._label is not None and label != self._label:
            closed = self._close((self._centre + window.centre) / 2)
        if self._windows == 0:
            self._first = window.centre
        self._label, self._centre = label, window.centre
        self._windows += 1
        if window.score is not None:
            self._judged += 1
            self._sum += window.score
            self._lowest, self._highest = min(self._lowest, window.score), max(self._highest, window.score)
        return closed

    def finish(self, end: float) -> Segment | None:
        """End the recording at `end` seconds and return the last segment, if any."""
        return None if self._label is None else self._close(end)

    def _judge(self, margin: float | None) -> SegmentLabel:
        if margin is None:
            return "unjudged"
        self._spoof = margin <= (self.rule.leave if self._spoof else self.rule.enter)
        return "spoof" if self._spoof else "bonafide"

    def _close(self, end: float) -> Segment:
        assert self._label is not None
        statistics = (self._sum / self._judged, self._lowest, self._highest) if self._judged else (None, None, None)
        lasting = self._centre - self._first
        closed = Segment(self._start, end, self._label, self._windows, lasting, *statistics)
        self._start = end
        self._reset()
        return closed


def segments(windows: Iterable[WindowScore], duration: float, rule: Rule) -> list[Segment]:
    """Merge all windows of a recording of `duration` seconds into segments that cover it without gaps."""
    segmenter = Segmenter(rule)
    closed = [segmenter.push(window) for window in windows]
    return [segment for segment in (*closed, segmenter.finish(duration)) if segment is not None]


@dataclass(frozen=True)
class Verdict:
    """The result for a recording as a whole.

    Attributes:
        label: the label by the rule; None if no window was scored.
        score: the mean score of the scored windows; None if there are none.
        spoof_seconds: total length of the spoof segments.
        longest_spoof: the largest `lasting` of the spoof segments, in seconds.
        judged_seconds: total length of the segments that are not `unjudged`.
    """

    label: Literal["bonafide", "spoof"] | None
    score: float | None
    spoof_seconds: float
    longest_spoof: float
    judged_seconds: float


def verdict(windows: Sequence[WindowScore], found: Sequence[Segment], rule: Rule) -> Verdict:
    """Judge a recording: spoof if a spoof segment lasts `rule.min_spoof`, or if no segment is bona fide."""
    scores = [window.score for window in windows if window.score is not None]
    spoof = [segment for segment in found if segment.label == "spoof"]
    longest = max((segment.lasting for segment in spoof), default=-1.0)
    judged = math.fsum(segment.seconds for segment in found if segment.label != "unjudged")
    is_spoof = longest >= rule.min_spoof or all(segment.label != "bonafide" for segment in found)
    return Verdict(
        label=("spoof" if is_spoof else "bonafide") if scores else None,
        score=math.fsum(scores) / len(scores) if scores else None,
        spoof_seconds=math.fsum(segment.seconds for segment in spoof),
        longest_spoof=max(longest, 0.0),
        judged_seconds=judged,
    )


@dataclass(frozen=True, repr=False)
class Timeline:
    """The scores of a recording over time. Its `repr` is one line, whatever its length.

    Attributes:
        duration: length of the recording in seconds.
        window: length of a window in seconds.
        hop: seconds from one window to the next; the last window may follow sooner.
        exact: whether every window was encoded separately.
        model_id: identifies the model that gave the scores.
        rule: the rule for segments and verdict.
        windows: all windows, in order.
        segments: all segments, in order; they cover the recording without gaps.
        verdict: the result for the whole recording.
    """

    duration: float
    window: float
    hop: float
    exact: bool
    model_id: str
    rule: Rule
    windows: tuple[WindowScore, ...]
    segments: tuple[Segment, ...]
    verdict: Verdict

    def __repr__(self) -> str:
        score = None if self.verdict.score is None else round(self.verdict.score, 3)
        counts = f"{len(self.windows)} windows, {len(self.segments)} segments"
        return f"Timeline(label={self.verdict.label!r}, score={score}, duration={self.duration:.2f}: {counts})"
