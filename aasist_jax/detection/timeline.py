"""A recording over time: its windows, and the segments that they make. Pure functions: no audio, no model, no files."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aasist_jax.calibration.evidence import window_posteriors
from aasist_jax.detection.cutting import WindowStatus
from aasist_jax.detection.verdict import DecisionRule, Label, Verdict

SegmentLabel = Label | Literal["unheard"]
SEGMENT_LABELS: tuple[SegmentLabel, ...] = ("human", "unsure", "synthetic", "unheard")


@dataclass(frozen=True)
class WindowScore:
    """The score of one window.

    Attributes:
        start: start of the window in seconds.
        end: end of the window in seconds.
        logits: (spoof, bona fide); None if the window is not heard.
        status: `ok`; `short` for a recording shorter than a window, extended to fill it; `silent` for a window of
            constant value; `no speech` where there is too little speech. Windows of the last two kinds are not heard.
        llr: its log-likelihood ratio of human over synthetic, natural log; None without a calibration.
    """

    start: float
    end: float
    logits: tuple[float, float] | None
    status: WindowStatus = "ok"
    llr: float | None = None

    @property
    def score(self) -> float | None:
        """The published score, the raw logit of bona fide."""
        return None if self.logits is None else self.logits[1]

    @property
    def centre(self) -> float:
        """The middle of the window in seconds."""
        return (self.start + self.end) / 2

    def to_dict(self) -> dict[str, Any]:
        """The window as a flat dictionary of JSON values."""
        spoof, bonafide = self.logits or (None, None)
        return {
            "start": self.start,
            "end": self.end,
            "score": bonafide,
            "spoof_logit": spoof,
            "llr": self.llr,
            "status": self.status,
        }


@dataclass(frozen=True)
class Segment:
    """A run of consecutive windows with the same label.

    Borders between segments lie half-way between the centres of the neighbouring windows; the first segment begins at
    the recording's start and the last one ends at its end.

    Attributes:
        start: start in seconds.
        end: end in seconds.
        label: `human`, `unsure` or `synthetic`, given the whole recording; `unheard` where nothing was judged.
        windows: count of windows.
        p_synthetic: the highest probability among its windows; None without an `llr`.
        score: mean score of its windows; None if it is unheard.
    """

    start: float
    end: float
    label: SegmentLabel
    windows: int
    p_synthetic: float | None
    score: float | None

    @property
    def seconds(self) -> float:
        """Length of the segment."""
        return self.end - self.start

    def to_dict(self) -> dict[str, Any]:
        """The segment as a flat dictionary of JSON values."""
        return {
            "start": self.start,
            "end": self.end,
            "label": self.label,
            "p_synthetic": self.p_synthetic,
            "score": self.score,
            "windows": self.windows,
        }


@dataclass(frozen=True)
class JudgedWindow:
    """A window, its label given the whole recording, and the probability behind the label (None without an `llr`)."""

    window: WindowScore
    label: SegmentLabel
    p_synthetic: float | None


def judge_windows(windows: Sequence[WindowScore], heard: Sequence[WindowScore], verdict: Verdict) -> list[JudgedWindow]:
    """Label windows of a recording so that none contradicts its verdict; see `window_posteriors`.

    Args:
        windows: the windows to label, which may overlap.
        heard: the windows that the verdict rests on.
        verdict: on the recording.
    """
    if verdict.llr is None or verdict.p_synthetic is None:
        return [JudgedWindow(window, "unheard" if window.logits is None else "unsure", None) for window in windows]
    rule: DecisionRule = verdict.rule
    llrs = _llrs(windows)
    found = np.minimum(window_posteriors(llrs, _llrs(heard), rule.prior), verdict.p_synthetic)
    # The very number of the recording, whose last bit another way to it may not have.
    found[llrs == llrs.min(initial=np.inf)] = verdict.p_synthetic
    probabilities = iter(found.tolist())
    judged = []
    for window in windows:
        p_synthetic = None if window.llr is None else next(probabilities)
        judged.append(JudgedWindow(window, "unheard" if p_synthetic is None else rule.label(p_synthetic), p_synthetic))
    return judged


def _llrs(windows: Sequence[WindowScore]) -> np.ndarray:
    return np.array([window.llr for window in windows if window.llr is not None], np.float64)


def segments(judged: Sequence[JudgedWindow], seconds: float) -> list[Segment]:
    """Merge the windows of a recording into segments that cover it without gaps."""
    runs: list[list[JudgedWindow]] = []
    for each in judged:
        if runs and runs[-1][-1].label == each.label:
            runs[-1].append(each)
        else:
            runs.append([each])
    borders = [(one[-1].window.centre + other[0].window.centre) / 2 for one, other in itertools.pairwise(runs)]
    starts, ends = [0.0, *borders], [*borders, seconds]
    return [_segment(run, start, end) for run, start, end in zip(runs, starts, ends, strict=False)]


def _segment(run: Sequence[JudgedWindow], start: float, end: float) -> Segment:
    probabilities = [each.p_synthetic for each in run if each.p_synthetic is not None]
    scores = [each.window.score for each in run if each.window.score is not None]
    score = sum(scores) / len(scores) if scores else None
    return Segment(start, end, run[0].label, len(run), max(probabilities, default=None), score)
