"""From the scores of windows to segments and a verdict. Pure: no audio, no model, no files."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from aasist_jax.errors import ConfigError

SegmentLabel = Literal["bonafide", "spoof", "unjudged"]
WindowStatus = Literal["ok", "short", "silent", "no speech"]


@dataclass(frozen=True)
class WindowScore:
    """What the model says of one window.

    Attributes:
        start: first second of the window.
        end: where it ends, in seconds.
        logits: (spoof, bona fide); None where there is nothing to judge.
        status: `ok`; `short` for a recording shorter than a window, repeated to fill it; `silent` for a constant;
            `no speech` where voice activity detection is on and finds too little. The latter two are not judged.
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
        """The bona fide logit less the spoof logit: above 0 the window's label is bona fide."""
        return None if self.logits is None else self.logits[1] - self.logits[0]

    @property
    def centre(self) -> float:
        """The middle, in seconds."""
        return (self.start + self.end) / 2


@dataclass(frozen=True)
class Rule:
    """When a segment is spoof, and when a recording is.

    Attributes:
        enter: a segment becomes spoof with a window whose margin is at most this.
        leave: and ends with one whose margin is above this; not less than `enter`.
        min_spoof: seconds that a spoof segment must last for an alarm, and for the recording to be called spoof, from
            the centre of its first window to that of its last.
    """

    enter: float = -1.0
    leave: float = 1.0
    min_spoof: float = 2.0

    def __post_init__(self) -> None:
        """Check that the numbers fit one another."""
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
    """A stretch of windows of one label.

    The stretch is made of the windows' cells: each reaches half-way to the centres of its neighbours, the first to the
    recording's start, the last to its end. `lasting` is what the rule asks: the seconds from the centre of the first
    window to that of the last, since a cell at the recording's ends is half a window long. Scores are None for an
    unjudged segment.
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
        """Its length."""
        return self.end - self.start


class Segmenter:
    """Merges windows into segments as they come, with hysteresis; the state outlasts what is not judged."""

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
        """The label of the segment that is open; None before the first window."""
        return self._label

    @property
    def alarm_since(self) -> float | None:
        """Where the open segment begins, if it is a spoof segment and has lasted long enough."""
        is_long = self._centre - self._first >= self.rule.min_spoof
        return self._start if self._label == "spoof" and is_long else None

    def push(self, window: WindowScore) -> Segment | None:
        """Take the next window; returns the segment that it ends."""
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
        """End the recording at `end` seconds; returns the last segment."""
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
    """What is said of a recording as a whole.

    Attributes:
        label: by the rule; None where nothing was judged.
        score: the mean over the judged windows.
        spoof_seconds: sum of the spoof segments.
        longest_spoof: the longest `lasting` of them, in seconds.
        judged_seconds: sum of the segments that were judged.
    """

    label: Literal["bonafide", "spoof"] | None
    score: float | None
    spoof_seconds: float
    longest_spoof: float
    judged_seconds: float


def verdict(windows: Sequence[WindowScore], found: Sequence[Segment], rule: Rule) -> Verdict:
    """Judge a recording: spoof if a spoof segment lasts `rule.min_spoof`, or if all that was judged is spoof."""
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


@dataclass(frozen=True)
class Timeline:
    """The scores of a recording over time.

    Attributes:
        duration: seconds of the recording.
        window: seconds of a window.
        hop: seconds from one window to the next (but to the last, which may follow sooner).
        exact: whether every window was encoded by itself.
        model_id: the model that scored it.
        rule: how windows became segments.
        windows: in order.
        segments: in order; they cover the recording.
        verdict: of the whole.
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
