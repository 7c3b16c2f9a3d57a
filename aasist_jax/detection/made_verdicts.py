"""Verdicts on recordings that were made of a corpus, where it is known who speaks when."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.corpus.conversations import MadeRecording
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.timeline import Segment
from aasist_jax.detection.verdict import DecisionRule, Label

Span = tuple[float, float, str]
"""Start and end in seconds, and a label."""


@dataclass(frozen=True)
class MadeVerdict:
    """What a detector makes of one channel of a made recording.

    Attributes:
        kind: of the recording.
        label: the verdict.
        seconds: its length.
        turns: who speaks when: spans labelled `human` or `synthetic`.
        segments: what the timeline says.
    """

    kind: str
    label: Label
    seconds: float
    turns: tuple[Span, ...]
    segments: tuple[Segment, ...]

    @property
    def synthetic_segments(self) -> tuple[Segment, ...]:
        """The segments that are called synthetic."""
        return tuple(segment for segment in self.segments if segment.label == "synthetic")

    @property
    def found(self) -> int:
        """Count of the synthetic segments that a synthetic turn overlaps."""
        return sum(self._is_right(segment) for segment in self.synthetic_segments)

    def _is_right(self, segment: Segment) -> bool:
        spans = ((start, end) for start, end, label in self.turns if label == "synthetic")
        return any(start < segment.end and segment.start < end for start, end in spans)


def judge_made(
    detector: Detector, recordings: Iterable[tuple[str, MadeRecording]], *, rule: DecisionRule | None = None
) -> Iterator[MadeVerdict]:
    """Judge made recordings, each channel by itself; names end in their kind, as in `0001-one-voice`."""
    for name, made in recordings:
        waves = made.wave.reshape(len(made.wave), -1)
        for channel in range(waves.shape[1]):
            timeline = detector.timeline((np.ascontiguousarray(waves[:, channel]), SAMPLE_RATE), rule=rule)
            turns = tuple(
                (turn.start, turn.end, "human" if turn.label == "bonafide" else "synthetic")
                for turn in made.turns
                if waves.shape[1] == 1 or turn.channel == channel
            )
            label = timeline.verdict.label
            yield MadeVerdict(name.partition("-")[2], label, timeline.score.seconds, turns, timeline.segments)


@dataclass(frozen=True)
class MadeShares:
    """Shares of the made recordings of one kind.

    Attributes:
        kind: the kind.
        count: channels that were judged.
        labels: share with each label.
        segments_per_hour: synthetic segments an hour where nobody synthetic speaks.
        found: share of the recordings with synthetic speech in which a synthetic segment overlaps it; None without any.
    """

    kind: str
    count: int
    labels: dict[str, float]
    segments_per_hour: float
    found: float | None


def shares_by_kind(verdicts: Sequence[MadeVerdict]) -> list[MadeShares]:
    """The shares of each kind, in the order in which they come."""
    result = []
    for kind in dict.fromkeys(each.kind for each in verdicts):
        own = [each for each in verdicts if each.kind == kind]
        labels = {name: sum(each.label == name for each in own) / len(own) for name in ("human", "unsure", "synthetic")}
        hours = sum(each.seconds for each in own) / 3600
        false = sum(len(each.synthetic_segments) - each.found for each in own)
        synthetic = [each for each in own if any(label == "synthetic" for _, _, label in each.turns)]
        found = sum(each.found > 0 for each in synthetic) / len(synthetic) if synthetic else None
        result.append(MadeShares(kind, len(own), labels, false / hours, found))
    return result
