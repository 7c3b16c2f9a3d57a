"""The fusion of several calibrated detectors: one log-likelihood ratio (LLR) of a recording from one of each.

A weighted sum and an offset, fitted by logistic regression to the recordings' LLRs side by side (Brümmer et al.,
"Fusion of heterogeneous speaker recognition systems in the STBU submission", IEEE TASLP 15, 2007). Weights are
positive, so that a verdict never moves towards `human` when a member finds a recording more synthetic.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from jaxtyping import Bool, Float

from aasist_jax.calibration.detector_calibration import LARGEST, LONGEST_NAME, FittedOn, Measured
from aasist_jax.calibration.fitting import (
    Maps,
    Recording,
    check_recordings,
    llrs_by,
    maps_without,
    measure,
    supported_llrs,
)
from aasist_jax.calibration.llr import LogisticCalibration, fit_logistic
from aasist_jax.errors import DataError, ScoreFileError
from aasist_jax.runtime.files import read_text, write_text


@dataclass(frozen=True)
class Fusion:
    """A fusion, for these members in this order.

    Attributes:
        members: the `model_id` of each, so that it holds for their weights and calibrations only.
        logistic: from their LLRs of a recording to one.
        lowest: the lowest LLR that the set supports.
        highest: the highest one.
        fitted_on: the data.
        measured: on voices that were left out of the fit of the fusion.
    """

    members: tuple[str, ...]
    logistic: LogisticCalibration
    lowest: float
    highest: float
    fitted_on: FittedOn
    measured: Measured

    def llrs(self, members: Float[np.ndarray, " members"]) -> Float[np.ndarray, "1"]:
        """The LLR of a recording, from those of the members."""
        return np.clip(self.logistic.apply(members[np.newaxis]), self.lowest, self.highest)

    @property
    def strongest(self) -> tuple[float, float]:
        """The lowest and the highest LLR that it gives."""
        return self.lowest, self.highest

    @functools.cached_property
    def fusion_id(self) -> str:
        """Twelve hex digits of a SHA-256 over all of it."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()[:12]

    def to_text(self) -> str:
        """The fusion as JSON, with a final line feed."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"


def fit_fusion(
    recordings: Sequence[Recording], *, members: tuple[str, ...], fitted_on: FittedOn, sure: float = 0.9
) -> Fusion:
    """Fit a fusion, and measure it on voices that are left out.

    Args:
        recordings: the set; `scores` of each are the members' LLRs of the whole recording.
        members: the `model_id` of each member, in the order of the scores.
        fitted_on: what to say of the data.
        sure: how sure a label must be where errors are counted, at a prior of one half.

    Raises:
        DataError: too few recordings (see `check_recordings`), or a member that takes no part in the evidence.
    """
    check_recordings(recordings)
    fusion = _fitted(recordings, members, supported_llrs(recordings), fitted_on)
    for name, slope in zip(members, fusion.logistic.slopes, strict=True):
        if slope <= 0:
            raise DataError(f"{name}: adds nothing to the others, its weight would be {slope:.3f}; leave it out")
    return replace(fusion, measured=measure(recordings, _maps_without(recordings, fusion), sure, durations=()))


def _fitted(
    recordings: Sequence[Recording], members: tuple[str, ...], supported: tuple[float, float], fitted_on: FittedOn
) -> Fusion:
    stacked = np.array([each.scores for each in recordings])
    is_human = np.array([each.is_human for each in recordings])
    logistic = _no_surer_than_the_sum(fit_logistic(stacked, is_human), stacked, is_human)
    return Fusion(members, logistic, *supported, fitted_on, Measured(0.0, 0.0, 0.0, 0.0, 0.0, 0.0))


def _no_surer_than_the_sum(
    fitted: LogisticCalibration,
    stacked: Float[np.ndarray, "recordings members"],
    is_human: Bool[np.ndarray, " recordings"],
) -> LogisticCalibration:
    """Weights of 1 at most: the evidence of independent members is their sum, and no members can give more.

    Recordings that the members nearly separate would make the weights as large as one likes. The offset is fitted anew:
    that of a logistic regression in which both classes weigh the same.
    """
    largest = max(fitted.slopes)
    if largest <= 1:
        return fitted
    # Imported here because scoring does without them.
    from scipy.optimize import brentq
    from scipy.special import expit

    slopes = tuple(slope / largest for slope in fitted.slopes)
    fused = stacked @ np.array(slopes)

    def surplus(offset: float) -> float:
        return float(np.mean(expit(-(fused[is_human] + offset))) - np.mean(expit(fused[~is_human] + offset)))

    reach = float(np.abs(fused).max()) + 50.0
    return replace(fitted, slopes=slopes, offset=float(brentq(surplus, -reach, reach)))


def _maps_without(recordings: Sequence[Recording], fusion: Fusion) -> Maps:
    supported = (fusion.lowest, fusion.highest)
    return maps_without(recordings, lambda kept: _fitted(kept, fusion.members, supported, fusion.fitted_on).llrs)


def held_out_fused_llrs(recordings: Sequence[Recording], fusion: Fusion) -> Float[np.ndarray, " recordings"]:
    """The LLR of each recording by a fusion that was fitted without its voice."""
    return llrs_by(_maps_without(recordings, fusion), recordings)


def save_fusion(fusion: Fusion, path: Path) -> None:
    """Write a fusion; `read_fusion` reads back the same numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, fusion.to_text())


def read_fusion(path: Path) -> Fusion:
    """Read what `save_fusion` wrote.

    Raises:
        ScoreFileError: the file cannot be read, is too large, or is no fusion.
    """
    try:
        found = msgspec.json.decode(read_text(path), type=Fusion)
        _check(found)
    except OSError as error:
        raise ScoreFileError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ScoreFileError(f"{path} is not a fusion of detectors: {error}; fit it again") from error
    return found


def _check(found: Fusion) -> None:
    slopes = found.logistic.slopes
    if len(slopes) != len(found.members) or len(slopes) < 2:
        raise ValueError(f"it has {len(found.members)} members and {len(slopes)} weights")
    if any(not name.isprintable() or len(name) > LONGEST_NAME for name in found.members):
        raise ValueError("it names its members in no plain text")
    numbers = (*slopes, found.logistic.offset, found.lowest, found.highest)
    if not (np.abs(numbers) < LARGEST).all() or min(slopes) <= 0 or found.lowest > found.highest:
        raise ValueError(f"its map does not rise, or holds numbers beyond {LARGEST:g}")
