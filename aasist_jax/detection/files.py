"""Scores many recordings into rows, one per recording; used by `aasist-jax score`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from aasist_jax.detection.batches import InTurn, OneChannel, Source
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.inputs import STANDARD_INPUT, Recording, open_recording
from aasist_jax.detection.result import Score
from aasist_jax.detection.verdict import DecisionRule
from aasist_jax.errors import AudioError

COLUMNS = (
    "file",
    "channel",
    "label",
    "p_synthetic",
    "llr",
    "reasons",
    "score",
    "seconds",
    "heard_seconds",
    "speech_seconds",
    "status",
    "spoof_logit",
    "bonafide_logit",
    "weights_id",
    "model_id",
    "error",
)


@dataclass(frozen=True)
class Row:
    """The result of one input file, or the error."""

    file: str
    result: Score | None
    error: str = ""
    channel: int | None = None

    @property
    def title(self) -> str:
        """What people call it."""
        return Recording(self.file, channel=self.channel).title

    @property
    def outcome(self) -> str:
        """`human`, `unsure`, `synthetic`, `error`, or `` for a published score, which has no label."""
        return "error" if self.result is None else self.result.label or ""

    def as_dict(self) -> dict[str, object]:
        """The row as a flat dictionary with the keys `COLUMNS`; `reasons` is one text, separated by semicolons."""
        if self.result is None:
            values: dict[str, object] = {"status": "error", "error": self.error}
        else:
            values = self.result.to_dict()
        values |= {"file": self.file, "channel": self.channel}
        return {name: values.get(name) for name in COLUMNS}


def score_files(
    detector: Detector,
    recordings: Sequence[Recording],
    *,
    rule: DecisionRule | None = None,
    published: bool = False,
) -> Iterator[Row]:
    """Score recordings in batches and yield one row each, in order; a row without a score holds the error.

    Args:
        detector: the model.
        recordings: what to score.
        rule: as in `Detector.score`.
        published: as in `Detector.score`.
    """
    sources = [_source(recording) for recording in recordings]
    results = detector.score_sources(sources, rule=rule, published=published)
    for recording, result in zip(recordings, results, strict=True):
        if isinstance(result, AudioError):
            yield Row(recording.name, None, str(result), recording.channel)
        else:
            yield Row(recording.name, result, channel=recording.channel)


def _source(recording: Recording) -> Source | InTurn:
    source: Source = partial(open_recording, recording)
    if recording.channel is not None:
        source = partial(_one_channel, recording)
    return InTurn(source) if recording.name == STANDARD_INPUT else source


def _one_channel(recording: Recording) -> OneChannel:
    assert recording.channel is not None
    return OneChannel(open_recording(recording), recording.channel)
