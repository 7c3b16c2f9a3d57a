"""Scores many recordings into rows, one per recording; used by `aasist-jax score`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aasist_jax.detection.batches import InTurn, Source, Windows, batch_size_for, score_in_batches
from aasist_jax.detection.detector import CALIBRATION_FILE, Detector
from aasist_jax.detection.inputs import STANDARD_INPUT, Recording, open_recording
from aasist_jax.detection.result import Score
from aasist_jax.errors import AudioError, WeightsError

COLUMNS = (
    "file",
    "label",
    "score",
    "duration",
    "heard_seconds",
    "status",
    "spoof_logit",
    "bonafide_logit",
    "model_id",
    "llr",
    "p_spoof",
    "error",
)


@dataclass(frozen=True)
class Row:
    """The result of one input file: its score, or the error."""

    file: str
    result: Score | None
    error: str = ""
    p_spoof: float | None = None
    """Posterior probability of a spoof; None if no prior was given."""

    @property
    def outcome(self) -> str:
        """`bonafide`, `spoof`, `error`, or '' for a silent or constant recording."""
        return "error" if self.result is None else self.result.label or ""

    def as_dict(self) -> dict[str, object]:
        """The row as a flat dictionary with the keys `COLUMNS`; with several windows also `window_scores`."""
        result = self.result
        spoof, bonafide = result.logits if result and result.logits else (None, None)
        values = (
            self.file,
            result.label if result else None,
            result.score if result else None,
            result.duration if result else None,
            result.heard_seconds if result else None,
            result.status if result else "error",
            spoof,
            bonafide,
            result.model_id if result else None,
            result.llr if result else None,
            self.p_spoof,
            self.error or None,
        )
        return dict(zip(COLUMNS, values, strict=True)) | (
            {"window_scores": list(result.window_scores)} if result and len(result.window_scores) > 1 else {}
        )


def load_detector(weights: Path, p_spoof: float | None = None) -> Detector:
    """Load a weights folder; if a prior of a spoof is given, the folder must have a calibration.

    Raises:
        WeightsError: the weights cannot be loaded, or have no calibration to apply the prior to.
    """
    detector = Detector.from_pretrained(weights)
    if p_spoof is not None and detector.calibration is None:
        raise WeightsError(
            f"--p-spoof: {weights} has no {CALIBRATION_FILE}; fit one on development scores with "
            f"`aasist-jax calibrate --scores FILE --out {weights / CALIBRATION_FILE}`"
        )
    return detector


def score_files(
    detector: Detector,
    recordings: Sequence[Recording],
    windows: Windows = "first",
    p_spoof: float | None = None,
    *,
    channel: int | None = None,
    of: int | None = None,
) -> Iterator[Row]:
    """Score recordings in batches and yield one row each, in order; a row without a score holds the error.

    Args:
        detector: the model.
        recordings: what to score.
        windows: as in `Detector.score`.
        p_spoof: prior of a spoof, for a calibrated detector.
        channel: as in `Detector.score`.
        of: number of recordings of the whole job, if these are only the remaining ones.
    """
    results = score_in_batches(
        detector,
        [_source(recording) for recording in recordings],
        windows=windows,
        channel=channel,
        batch_size=batch_size_for(len(recordings) if of is None else of, windows),
    )
    for recording, result in zip(recordings, results, strict=True):
        if isinstance(result, AudioError):
            yield Row(recording.name, None, str(result))
        else:
            posterior = None if p_spoof is None else result.probability_of_spoof(p_spoof)
            yield Row(recording.name, result, p_spoof=posterior)


def _source(recording: Recording) -> Source | InTurn:
    source = partial(open_recording, recording)
    return InTurn(source) if recording.name == STANDARD_INPUT else source
