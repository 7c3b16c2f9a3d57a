"""Calibrates a detector, or fuses several, on labelled recordings: scores them as `Detector.score` does, and fits."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from aasist_jax.audio.facts import SignalFacts
from aasist_jax.calibration.detector_calibration import DetectorCalibration, FittedOn, score_rule
from aasist_jax.calibration.fitting import Recording, fit
from aasist_jax.calibration.fusion import Fusion, fit_fusion
from aasist_jax.data.utterances import Utterance
from aasist_jax.detection.batches import read_in_batches
from aasist_jax.detection.detector import Detector, FusedDetector
from aasist_jax.detection.fused import evidence
from aasist_jax.detection.result import Score
from aasist_jax.errors import AudioError

logger = logging.getLogger(__name__)


def read_recordings(detector: Detector, utterances: Sequence[Utterance]) -> Iterator[Recording | None]:
    """What a calibration is fitted to, of each recording; None for one that cannot be read or holds no speech.

    Such a recording is logged as a warning.
    """
    sources = [partial(str, utterance.path) for utterance in utterances]
    for utterance, read in zip(utterances, read_in_batches(detector, sources), strict=True):
        if isinstance(read, AudioError):
            logger.warning("left out: %s", read)
            yield None
            continue
        prepared, values = read
        if not len(values):
            logger.warning("left out: %s: no speech", prepared.name)
            yield None
            continue
        overlaps = len(values) > 1 and prepared.heard[-1].start % detector.window > 0
        found = _recording(utterance, values[:, 1].astype(np.float64), values[:, 2:], prepared.facts)
        yield replace(found, overlaps=overlaps)


def calibrate_on(
    detector: Detector, recordings: Sequence[Recording], *, data: str, command: str, sure: float = 0.9
) -> DetectorCalibration:
    """Fit a calibration to recordings that the detector has read.

    Args:
        detector: the detector.
        recordings: see `read_recordings`.
        data: the name of the data, for readers.
        command: what makes the calibration again.
        sure: how sure a label must be where errors are counted.

    Raises:
        DataError: there are too few recordings, or they cannot be told apart.
    """
    fitted_on = _fitted_on(recordings, data, command)
    rule = score_rule(detector.window)
    return fit(recordings, weights_id=detector.weights_id, rule=rule, fitted_on=fitted_on, sure=sure)


def read_evidence(fused: FusedDetector, utterances: Sequence[Utterance]) -> Iterator[Recording | None]:
    """What a fusion is fitted to, of each recording: the members' log-likelihood ratios in place of scores of windows.

    None, with a warning, for a recording that cannot be read or of which a member hears nothing.
    """
    sources = [partial(str, utterance.path) for utterance in utterances]
    by_member = zip(*(member.score_sources(sources) for member in fused.members), strict=True)
    for utterance, results in zip(utterances, by_member, strict=True):
        fault = next((str(result) for result in results if isinstance(result, AudioError)), "")
        scores = [result for result in results if isinstance(result, Score)]
        llrs = [llr for score in scores if (llr := evidence(score)) is not None]
        if len(llrs) < len(fused.members):
            logger.warning("left out: %s", fault or f"{utterance.path}: no speech")
            yield None
            continue
        yield _recording(utterance, np.array(llrs), np.empty((len(llrs), 0)), scores[0].facts)


def _recording(utterance: Utterance, scores: np.ndarray, embeddings: np.ndarray, facts: SignalFacts) -> Recording:
    return Recording(
        name=utterance.utterance,
        is_human=utterance.label == "bonafide",
        voice=utterance.speaker,
        system=utterance.attack,
        scores=scores,
        embeddings=embeddings,
        facts=facts,
    )


def fuse_on(
    fused: FusedDetector, recordings: Sequence[Recording], *, data: str, command: str, sure: float = 0.9
) -> Fusion:
    """Fit a fusion to recordings that its members have read; the arguments are those of `calibrate_on`.

    Raises:
        DataError: there are too few recordings, or a member adds nothing.
    """
    return fit_fusion(recordings, members=fused.member_ids, fitted_on=_fitted_on(recordings, data, command), sure=sure)


def _fitted_on(recordings: Sequence[Recording], data: str, command: str) -> FittedOn:
    listed = "".join(f"{each.name} {'human' if each.is_human else 'synthetic'}\n" for each in recordings)
    human = [each for each in recordings if each.is_human]
    return FittedOn(
        data=data,
        sha256=hashlib.sha256(listed.encode()).hexdigest(),
        human=len(human),
        synthetic=len(recordings) - len(human),
        voices=len({each.group for each in human}),
        systems=tuple(sorted({each.system for each in recordings if not each.is_human})),
        command=command,
    )
