"""From what the model gave for the windows of a recording to its result; files and streams share this."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.condition import Condition
from aasist_jax.audio.facts import USUAL, SignalFacts, reasons
from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.calibration.detector_calibration import DetectorCalibration
from aasist_jax.detection.cutting import NOT_HEARD, Cut
from aasist_jax.detection.result import Score
from aasist_jax.detection.timeline import WindowScore
from aasist_jax.detection.verdict import CHANNELS_DIFFER, NO_SPEECH, UNLIKE, DecisionRule, Reason, judge


def judge_recording(
    cuts: Sequence[Cut],
    values: Float32[np.ndarray, "heard values"],
    *,
    facts: SignalFacts,
    condition: Condition,
    weights_id: str,
    calibration: DetectorCalibration | None,
    rule: DecisionRule | None,
) -> Score:
    """The result of a recording.

    Args:
        cuts: its windows, in order.
        values: of those that were heard, in order: logits (spoof, bona fide), then the embedding.
        facts: facts of the signal.
        condition: the condition of the recording.
        weights_id: identifies the weights.
        calibration: of the detector; None: the verdict is `unsure (uncalibrated)`.
        rule: how to decide; None for a published score, which has no verdict.
    """
    llrs = None if calibration is None else calibration.llrs(values[:, 1])
    windows = window_scores(cuts, values, llrs)
    logits = tuple(values[:, :2].mean(axis=0, dtype=np.float64).tolist()) if len(values) else None
    verdict = None
    if rule is not None:
        verdict = judge(llrs, rule, reasons_to_doubt(facts, condition, values[:, 2:], calibration))
    bound = "" if calibration is None else f"+{calibration.calibration_id}"
    return Score(
        verdict=verdict,
        score=logits[1] if logits else None,
        logits=logits,
        seconds=facts.seconds,
        heard_seconds=heard_seconds(windows),
        speech_seconds=facts.speech_seconds,
        status=condition,
        facts=facts,
        weights_id=weights_id,
        model_id=weights_id + bound,
        windows=windows,
    )


def with_channels(score: Score, channels: Sequence[Score]) -> Score:
    """The score of a recording together with those of its channels; said, where their labels differ."""
    verdict = score.verdict
    if verdict is not None and len({channel.label for channel in channels}) > 1:
        verdict = replace(verdict, reasons=(*verdict.reasons, CHANNELS_DIFFER))
    return replace(score, verdict=verdict, channels=tuple(channels))


def window_scores(
    cuts: Sequence[Cut], values: Float32[np.ndarray, "heard values"], llrs: np.ndarray | None
) -> tuple[WindowScore, ...]:
    """The windows with what the model gave for those that were heard."""
    row, windows = 0, []
    for cut in cuts:
        seconds = cut.start / SAMPLE_RATE, cut.end / SAMPLE_RATE
        if cut.status in NOT_HEARD:
            windows.append(WindowScore(*seconds, None, cut.status))
            continue
        spoof, bonafide = values[row, :2].tolist()
        llr = None if llrs is None else float(llrs[row])
        windows.append(WindowScore(*seconds, (spoof, bonafide), cut.status, llr))
        row += 1
    return tuple(windows)


def heard_seconds(windows: Sequence[WindowScore]) -> float:
    """Seconds that the heard windows cover; the last one may overlap the one before."""
    total, end = 0.0, 0.0
    for window in windows:
        if window.logits is not None:
            total += window.end - max(window.start, end)
            end = window.end
    return total


def reasons_to_doubt(
    facts: SignalFacts,
    condition: Condition,
    embeddings: Float32[np.ndarray, "heard features"],
    calibration: DetectorCalibration | None,
) -> list[Reason]:
    """Why no verdict on the recording would be sure."""
    found: list[Reason] = list(reasons(facts, USUAL if calibration is None else calibration.limits))
    if condition in ("damaged", "silent", "constant"):
        found.insert(0, condition)
    if not len(embeddings):
        # That there is little speech is then said already.
        if condition in ("silent", "constant"):
            return [condition]
        return [NO_SPEECH, *(reason for reason in found if reason in ("damaged", "short"))]
    if calibration is not None:
        distance = float(calibration.domain.distances(embeddings.astype(np.float64)).mean())
        # Written so that a distance that is not finite counts as far.
        if not distance <= calibration.domain.farthest:
            found.append(UNLIKE)
    return found
