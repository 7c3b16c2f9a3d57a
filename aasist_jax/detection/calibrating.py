"""Calibrates a detector on labelled recordings: scores them as `Detector.score` does, and fits."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from aasist_jax.calibration.detector_calibration import DetectorCalibration, FittedOn, score_rule
from aasist_jax.calibration.fitting import Recording, fit
from aasist_jax.data.utterances import Utterance
from aasist_jax.detection.batches import read_in_batches
from aasist_jax.detection.detector import Detector
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
        yield Recording(
            name=utterance.utterance,
            is_human=utterance.label == "bonafide",
            voice=utterance.speaker,
            system=utterance.attack,
            scores=values[:, 1].astype(np.float64),
            embeddings=values[:, 2:],
            facts=prepared.facts,
            overlaps=len(values) > 1 and prepared.heard[-1].start % detector.window > 0,
        )


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
    listed = "".join(f"{each.name} {'human' if each.is_human else 'synthetic'}\n" for each in recordings)
    human = [each for each in recordings if each.is_human]
    fitted_on = FittedOn(
        data=data,
        sha256=hashlib.sha256(listed.encode()).hexdigest(),
        human=len(human),
        synthetic=len(recordings) - len(human),
        voices=len({each.group for each in human}),
        systems=tuple(sorted({each.system for each in recordings if not each.is_human})),
        command=command,
    )
    rule = score_rule(detector.window)
    return fit(recordings, weights_id=detector.weights.weights_id, rule=rule, fitted_on=fitted_on, sure=sure)
