"""The calibration of a detector: what turns its scores into log-likelihood ratios, and for which recordings that holds.

It is bound to the weights and to the rule that makes the score, and it says what it was fitted on and what was measured
on voices that were left out of the fit. `calibration.json` in a weights folder holds one; the package has those of the
published weights.
"""

import functools
import hashlib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Float

from aasist_jax.audio.facts import SignalLimits
from aasist_jax.calibration.domain import Domain
from aasist_jax.calibration.llr import LogisticCalibration
from aasist_jax.errors import ScoreFileError
from aasist_jax.runtime.files import read_text, write_text

LARGEST = 1e9
"""No score and no log-likelihood ratio is as large."""


LONGEST_NAME = 200


def score_rule(window: int) -> str:
    """Names the rule that makes the scores which are calibrated."""
    return f"mean raw bona fide logit of the windows of {window} samples with speech"


@dataclass(frozen=True)
class VoiceErrors:
    """What was measured on one voice, or on one system that makes speech, which the fit had not met.

    Attributes:
        name: of the voice or system.
        is_human: whether it is a human's.
        recordings: count.
        wrong: share of them with the wrong label.
        unsure: share of them that are unsure.
    """

    name: str
    is_human: bool
    recordings: int
    wrong: float
    unsure: float


@dataclass(frozen=True)
class Measured:
    """How good a calibration is on voices that were left out of its fit.

    Attributes:
        cllr: cost of the log-likelihood ratios in bits; 0 at best, 1 for one that says nothing.
        min_cllr: the same after the best monotone map.
        sure: how sure a label had to be for the shares that follow.
        human_called_synthetic: share of human recordings.
        synthetic_called_human: share of synthetic recordings.
        unsure: share of all recordings.
        durations: windows of a recording -> its (cllr, human called synthetic, synthetic called human, unsure).
        voices: errors of every voice and system, the worst first.
    """

    cllr: float
    min_cllr: float
    sure: float
    human_called_synthetic: float
    synthetic_called_human: float
    unsure: float
    durations: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)
    voices: tuple[VoiceErrors, ...] = ()


@dataclass(frozen=True)
class FittedOn:
    """What a calibration was fitted on.

    Attributes:
        data: its name, as it was given.
        sha256: over the names and labels of the recordings, in order.
        human: count of human recordings.
        synthetic: count of synthetic ones.
        voices: count of human voices.
        systems: names of the systems that made the synthetic ones.
        command: makes the calibration again.
    """

    data: str
    sha256: str
    human: int
    synthetic: int
    voices: int
    systems: tuple[str, ...]
    command: str

    def __str__(self) -> str:
        systems = "1 system" if len(self.systems) == 1 else f"{len(self.systems)} systems"
        return (
            f"{self.data}: {self.human} human recordings of {self.voices} voices, {self.synthetic} synthetic ones of "
            f"{systems}"
        )


@dataclass(frozen=True)
class DetectorCalibration:
    """A calibration, for recordings like those that it was fitted on; the module says what it is bound to.

    Attributes:
        weights_id: of the weights that made the scores.
        rule: how the scores are made; see `score_rule`.
        logistic: the map from the score of a window to its log-likelihood ratio.
        lowest: the lowest score that the set supports; a lower one counts as this, since nothing is known beyond.
        highest: the highest such score.
        domain: where its recordings lie.
        limits: what a recording like those of the set has at least.
        fitted_on: the data.
        measured: on voices that were left out.
    """

    weights_id: str
    rule: str
    logistic: LogisticCalibration
    lowest: float
    highest: float
    domain: Domain
    limits: SignalLimits
    fitted_on: FittedOn
    measured: Measured

    def llrs(self, scores: Float[np.ndarray, " windows"]) -> Float[np.ndarray, " windows"]:
        """Log-likelihood ratios of human over synthetic of windows, from their raw bona fide logits."""
        return self.logistic.apply(np.clip(np.asarray(scores, np.float64), self.lowest, self.highest))

    @property
    def strongest(self) -> tuple[float, float]:
        """The lowest and the highest log-likelihood ratio that it gives."""
        lowest, highest = self.llrs(np.array([self.lowest, self.highest])).tolist()
        return lowest, highest

    @functools.cached_property
    def calibration_id(self) -> str:
        """Twelve hex digits of a SHA-256 over all of it."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()[:12]

    def to_text(self) -> str:
        """The calibration as JSON, with a final line feed."""
        return msgspec.json.format(msgspec.json.encode(self, enc_hook=np.ndarray.tolist), indent=1).decode() + "\n"


def save_detector_calibration(calibration: DetectorCalibration, path: Path) -> None:
    """Write a calibration; `read_detector_calibration` reads back the same numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, calibration.to_text())


def read_detector_calibration(path: Path) -> DetectorCalibration:
    """Read what `save_detector_calibration` wrote.

    Raises:
        ScoreFileError: the file cannot be read, is too large, or is not a detector's calibration.
    """
    try:
        return parse_detector_calibration(read_text(path))
    except OSError as error:
        raise ScoreFileError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ScoreFileError(f"{path} is not the calibration of a detector: {error}; fit it again") from error


def parse_detector_calibration(text: str) -> DetectorCalibration:
    """Read the text of a calibration.

    Raises:
        ValueError: it is none.
    """
    try:
        found = msgspec.json.decode(text, type=DetectorCalibration, dec_hook=_as_array)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    for text in (found.weights_id, found.rule):
        # They stand in messages of one line.
        if not text.isprintable() or len(text) > LONGEST_NAME:
            raise ValueError("it names its weights or its rule in no plain text")
    found.domain.check()
    _check_map(found)
    return found


def _check_map(found: DetectorCalibration) -> None:
    if len(found.logistic.slopes) != 1:
        raise ValueError(f"its map has {len(found.logistic.slopes)} slopes, not one")
    numbers = (*found.logistic.slopes, found.logistic.offset, found.lowest, found.highest, found.domain.farthest)
    # Large finite numbers could overflow in the map: hence a limit, and not only a check that they are finite.
    if not (np.abs(numbers) < LARGEST).all() or not (np.abs(found.llrs(np.array(numbers[2:4]))) < LARGEST).all():
        raise ValueError(f"its map holds numbers beyond {LARGEST:g}")
    if found.logistic.slopes[0] <= 0 or found.lowest > found.highest:
        raise ValueError("its map does not rise")


def _as_array(type: Any, values: Any) -> np.ndarray:
    """Arrays are lists in JSON."""
    array = np.array(values, np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a number in an array is not finite")
    return array


def published_calibration(weights_id: str) -> DetectorCalibration | None:
    """The calibration of published weights that the package carries; None if it has none for these."""
    published = resources.files("aasist_jax.calibration").joinpath("published")
    for file in published.iterdir() if published.is_dir() else ():
        if file.name == f"{weights_id}.json":
            return parse_detector_calibration(file.read_text(encoding="utf-8"))
    return None
