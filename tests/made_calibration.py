"""Calibrations that need no data: a map from scores to log-likelihood ratios by hand, for any recording."""

from pathlib import Path

import numpy as np

from aasist_jax.audio.facts import SignalLimits
from aasist_jax.calibration.detector_calibration import (
    DetectorCalibration,
    FittedOn,
    Measured,
    save_detector_calibration,
    score_rule,
)
from aasist_jax.calibration.domain import Domain
from aasist_jax.calibration.llr import LogisticCalibration
from aasist_jax.detection.detector import CALIBRATION_FILE, Detector

ANY_DISTANCE = 1e6


def made_calibration(detector: Detector, slope: float = 1.0, offset: float = 0.0) -> DetectorCalibration:
    """The log-likelihood ratio of a window is `slope * score + offset`; no recording is unlike the calibration set."""
    features = detector.batch_read_out(np.zeros((1, detector.window), np.float32)).shape[1] - 2
    return DetectorCalibration(
        weights_id=detector.weights.weights_id,
        rule=score_rule(detector.window),
        logistic=LogisticCalibration((slope,), offset, 0.5),
        lowest=-1e6,
        highest=1e6,
        domain=Domain(np.zeros(features), np.ones(features), np.eye(1, features), np.zeros((1, 1)), ANY_DISTANCE),
        limits=SignalLimits(0.0, 0.0, 0.0),
        fitted_on=FittedOn("made by hand", "0" * 64, 0, 0, 0, (), "none"),
        measured=Measured(0.0, 0.0, 0.9, 0.0, 0.0, 0.0),
    )


def calibrate_by_hand(folder: Path, slope: float = 1.0, offset: float = 0.0) -> Path:
    """Write such a calibration into a weights folder."""
    save_detector_calibration(
        made_calibration(Detector.from_pretrained(folder), slope, offset), folder / CALIBRATION_FILE
    )
    return folder
