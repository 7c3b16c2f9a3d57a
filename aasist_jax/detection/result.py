"""What a Detector makes of one recording: before the model, `Prepared`; after it, `Score`."""

from dataclasses import KW_ONLY, asdict, dataclass
from typing import TYPE_CHECKING, Any

from aasist_jax.audio.condition import Condition
from aasist_jax.audio.facts import SignalFacts
from aasist_jax.detection.cutting import Cut
from aasist_jax.detection.result_html import result_html
from aasist_jax.detection.timeline import Segment, WindowScore, judge_windows, segments
from aasist_jax.detection.timeline_plot import verdict_figure
from aasist_jax.detection.verdict import Label, Reason, Verdict
from aasist_jax.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Score:
    """A Detector's result for one recording.

    Attributes:
        verdict: what can be said of the recording; None for a published score, which has no label.
        score: the raw logit of bona fide, as published: higher means more likely human. It is not a likelihood ratio.
            With several windows, their mean. None if nothing was heard, and of a fusion.
        logits: the logits (spoof, bona fide); with several windows, their mean. None where there is no `score`.
        seconds: length of the recording.
        heard_seconds: seconds of it that were judged.
        speech_seconds: seconds of it that are speech.
        status: the condition of the recording: see `aasist_jax.audio.condition`.
        facts: plain facts of the signal.
        weights_id: identifies configuration and tensors.
        model_id: identifies weights and calibration.
        windows: the windows that the verdict rests on, and those that were not heard, in order; of a fusion, none.
        channels: the scores of both channels of a recording whose channels differ and were averaged; else none.
        members: of a fusion, the scores by each of its detectors; else none.
    """

    verdict: Verdict | None
    score: float | None
    logits: tuple[float, float] | None
    seconds: float
    heard_seconds: float
    speech_seconds: float
    status: Condition
    facts: SignalFacts
    weights_id: str
    model_id: str
    windows: tuple[WindowScore, ...]
    channels: tuple["Score", ...] = ()
    members: tuple["Score", ...] = ()

    @property
    def label(self) -> Label | None:
        """`human`, `unsure` or `synthetic`; None for a published score."""
        return None if self.verdict is None else self.verdict.label

    @property
    def llr(self) -> float | None:
        """The log-likelihood ratio of human over synthetic, natural log; None where there is none to act on."""
        return None if self.verdict is None else self.verdict.llr

    @property
    def p_synthetic(self) -> float | None:
        """Probability that the recording is synthetic, wholly or in part; None without an `llr`."""
        return None if self.verdict is None else self.verdict.p_synthetic

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the verdict is unsure, or what to know beside it."""
        return () if self.verdict is None else self.verdict.reasons

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What was heard when: segments that cover the recording, by the windows of the verdict."""
        if self.verdict is None:
            return ()
        return tuple(segments(judge_windows(self.windows, self.windows, self.verdict), self.seconds))

    def to_dict(self) -> dict[str, Any]:
        """The result as a flat dictionary of JSON values, as `aasist-jax score` writes it.

        `reasons` is one text, separated by semicolons, or None.
        """
        spoof, bonafide = self.logits or (None, None)
        return {
            "label": self.label,
            "p_synthetic": self.p_synthetic,
            "llr": self.llr,
            "reasons": "; ".join(self.reasons) or None,
            "score": self.score,
            "seconds": self.seconds,
            "heard_seconds": self.heard_seconds,
            "speech_seconds": self.speech_seconds,
            "status": self.status,
            "spoof_logit": spoof,
            "bonafide_logit": bonafide,
            "weights_id": self.weights_id,
            "model_id": self.model_id,
        }

    def plot(self) -> "Figure":
        """Draw the verdict over time: the segments, and the log-likelihood ratio of every window.

        Without a calibration the windows have their raw scores. A notebook shows the figure; `figure.savefig(path)`
        writes it.

        Raises:
            ConfigError: it is a published score, which has no verdict, or that of a fusion, which has no windows.
        """
        if self.members:
            raise ConfigError("the score of a fusion has no windows to draw; plot one of its `members`")
        return verdict_figure(self, self.windows, self.segments)

    def _repr_html_(self) -> str:
        return result_html(self)

    def __repr__(self) -> str:
        score = None if self.score is None else round(self.score, 3)
        heard = f"heard_seconds={self.heard_seconds:.2f}, seconds={self.seconds:.2f}"
        if self.verdict is None:
            return f"Score(published score={score}, {heard}, status={self.status!r})"
        p_synthetic = self.verdict.p_synthetic
        sure = "" if p_synthetic is None else f", p_synthetic={self.verdict.rule.told(p_synthetic)}"
        reasons = f", reasons={self.reasons!r}" if self.reasons else ""
        return f"Score(label={self.label!r}{sure}, score={score}, {heard}{reasons})"


@dataclass(frozen=True, repr=False)
class Timeline:
    """A recording over time. Its `repr` is one line, whatever its length.

    Attributes:
        score: the result for the whole recording, as `Detector.score` gives it.
        window: length of a window in seconds.
        hop: seconds from one window to the next; the last window may follow sooner.
        exact: whether every window was computed by itself.
        windows: all windows, in order: those of the score, or those of a finer hop.
        segments: what was heard when, by these windows; they cover the recording without gaps.
    """

    score: Score
    window: float
    hop: float
    exact: bool
    windows: tuple[WindowScore, ...]
    segments: tuple[Segment, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole recording."""
        assert self.score.verdict is not None
        return self.score.verdict

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.score.seconds

    def to_dict(self) -> dict[str, Any]:
        """The timeline as a dictionary of JSON values, as `aasist-jax timeline` writes it; times in seconds."""
        return {
            **self.score.to_dict(),
            "rule": asdict(self.verdict.rule),
            "window": self.window,
            "hop": self.hop,
            "exact": self.exact,
            "segments": [segment.to_dict() for segment in self.segments],
            "windows": [window.to_dict() for window in self.windows],
        }

    def plot(self) -> "Figure":
        """Draw the verdict over time, as `Score.plot` does, by the windows of the timeline."""
        return verdict_figure(self.score, self.windows, self.segments)

    def _repr_html_(self) -> str:
        return result_html(self.score, self.segments)

    def __repr__(self) -> str:
        counts = f"{len(self.windows)} windows, {len(self.segments)} segments"
        return f"Timeline(label={self.score.label!r}, seconds={self.score.seconds:.2f}: {counts})"


@dataclass(frozen=True)
class Prepared:
    """A recording that was decoded and cut, ready for the model.

    Attributes:
        name: the name used in messages.
        cuts: its windows, in order.
        facts: facts of the signal.
        status: as in `Score`.
        is_published: whether only the first window counts, as in the papers.
        channels: its two channels, where they differ and were averaged; else none.
    """

    name: str
    cuts: tuple[Cut, ...]
    facts: SignalFacts
    status: Condition
    _: KW_ONLY
    is_published: bool = False
    channels: tuple["Prepared", ...] = ()

    @property
    def heard(self) -> tuple[Cut, ...]:
        """The windows that are given to the model: its own, then those of its channels."""
        own = tuple(cut for cut in self.cuts if cut.wave is not None)
        return own + tuple(cut for channel in self.channels for cut in channel.heard)
