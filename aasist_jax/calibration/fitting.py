"""Fits the calibration of a detector to recordings whose truth is known, and measures it on voices left out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from jaxtyping import Float

from aasist_jax.audio.facts import USUAL, SignalFacts, SignalLimits
from aasist_jax.calibration.detector_calibration import (
    DetectorCalibration,
    FittedOn,
    Measured,
    VoiceErrors,
)
from aasist_jax.calibration.domain import fit_domain
from aasist_jax.calibration.evidence import recording_llr
from aasist_jax.calibration.llr import LogisticCalibration, fit_logistic
from aasist_jax.errors import DataError
from aasist_jax.metrics.calibration_loss import cllr_bits, min_cllr_bits

DURATIONS = (1, 2, 4, 8)
"""Windows of the recordings that a calibration is fitted and measured on."""

LEAST_RECORDINGS = 20
"""Of each class. With fewer, not even one error in ten could be told from none."""

LEAST_VOICES = 3
"""Of humans, since voices are left out in turn."""

MOST_FOLDS = 20
RARE = 0.05
"""Share of the recordings that may have less of a signal fact than the set's own limit."""

Supported = tuple[float, float]
"""Lowest and highest log-likelihood ratio."""

Map = Callable[[np.ndarray], np.ndarray]
"""From the scores of a recording to log-likelihood ratios."""

Maps = Mapping[str, Map]
"""For each group of recordings, the map that they are judged by."""


@dataclass(frozen=True)
class Recording:
    """A recording whose truth is known.

    Attributes:
        name: of the recording.
        is_human: whether a human speaks.
        voice: who speaks, or whose voice is imitated; "-" if unknown.
        system: what made it; "-" for a human.
        scores: raw bona fide logits of its windows, (windows,).
        embeddings: of its windows, (windows, features).
        facts: of the signal.
        overlaps: whether the last window overlaps the one before, so that the two are one and not two.
    """

    name: str
    is_human: bool
    voice: str
    system: str
    scores: Float[np.ndarray, " windows"]
    embeddings: Float[np.ndarray, "windows features"]
    facts: SignalFacts
    overlaps: bool = False

    @property
    def pieces(self) -> int:
        """Windows that lie end to end, at least one."""
        return max(len(self.scores) - self.overlaps, 1)

    @property
    def group(self) -> str:
        """What is left out of the fit together with it: its voice, or else its system, or else itself."""
        if self.voice != "-":
            return f"voice {self.voice}"
        return f"recording {self.name}" if self.system in ("-", "unknown") else f"system {self.system}"


def check_recordings(recordings: Sequence[Recording]) -> None:
    """Check that there is enough to fit a calibration to, and to measure it.

    Raises:
        DataError: too few recordings of a class, or too few human voices.
    """
    for is_human, name in ((True, "human"), (False, "synthetic")):
        count = sum(each.is_human == is_human for each in recordings)
        if count < LEAST_RECORDINGS:
            raise DataError(
                f"{count} {name} recordings with speech; a calibration needs at least {LEAST_RECORDINGS} of each class"
            )
    voices = len({each.group for each in recordings if each.is_human})
    if voices < LEAST_VOICES:
        raise DataError(
            f"{voices} human voices; a calibration is measured on voices that are left out, and needs {LEAST_VOICES}"
        )


def fit(
    recordings: Sequence[Recording], *, weights_id: str, rule: str, fitted_on: FittedOn, sure: float = 0.9
) -> DetectorCalibration:
    """Fit a calibration, and measure it on voices that are left out.

    Args:
        recordings: the calibration set.
        weights_id: of the weights that made the scores.
        rule: how the scores are made.
        fitted_on: what to say of the data.
        sure: how sure a label must be where errors are counted, at a prior of one half.

    Raises:
        DataError: too few recordings (see `check_recordings`), or scores that do not rise with human speech.
    """
    check_recordings(recordings)
    supported = supported_llrs(recordings)
    logistic, lowest, highest = _fit_map(recordings, supported)
    windows = [each for each in recordings for _ in each.scores]
    domain = fit_domain(
        np.concatenate([each.embeddings for each in recordings]).astype(np.float64),
        np.array([each.group for each in windows]),
    )
    calibration = DetectorCalibration(
        weights_id=weights_id,
        rule=rule,
        logistic=logistic,
        lowest=lowest,
        highest=highest,
        domain=domain,
        limits=_limits([each.facts for each in recordings]),
        fitted_on=fitted_on,
        measured=Measured(0.0, 0.0, sure, 0.0, 0.0, 0.0),
    )
    return replace(calibration, measured=measure(recordings, _maps_without(recordings, calibration), sure))


def supported_llrs(recordings: Sequence[Recording]) -> Supported:
    """The lowest and the highest log-likelihood ratio that so many recordings support.

    One in N + 1 humans may score what none of N did, so no ratio against a human is stronger than N + 1, and likewise
    the other way; docs/verdict.md has the source.
    """
    human = sum(each.is_human for each in recordings)
    return -math.log(human + 1), math.log(len(recordings) - human + 1)


def _limits(known: Sequence[SignalFacts]) -> SignalLimits:
    """The usual limits, lowered where the set has recordings beyond them that are not rare in it.

    A fact that is known of fewer than `LEAST_RECORDINGS` leaves its limit as it is.
    """
    limits = asdict(USUAL)
    for name in limits:
        values = [value for facts in known if (value := getattr(facts, name)) is not None]
        if len(values) >= LEAST_RECORDINGS:
            limits[name] = min(limits[name], float(np.quantile(values, RARE)))
    return SignalLimits(**limits)


def _fit_map(recordings: Sequence[Recording], supported: Supported) -> tuple[LogisticCalibration, float, float]:
    """The map from scores to ratios, and the range of scores in which it is believed.

    That range ends where the recordings end, or where the ratios leave the supported ones.

    Of the maps fitted at each duration, the least steep is taken. With the duration the maps grow steeper, because a
    mean over windows scatters less; but the voices stay as few, and what differs between voices does not average out.
    """
    maps, pieces_of = [], {each.name: each.pieces for each in recordings}
    for duration in DURATIONS:
        trials = _joined(recordings, duration)
        is_human = np.array([each.is_human for each in trials], bool)
        if duration == 1 or min(is_human.sum(), (~is_human).sum()) >= LEAST_RECORDINGS:
            # Of single windows, each recording counts the same, however many it has.
            counts = np.array([1 / pieces_of[each.name] if duration == 1 else 1.0 for each in trials])
            maps.append(fit_logistic(np.array([each.scores.mean() for each in trials]), is_human, counts=counts))
    chosen = min(maps, key=lambda each: each.slopes[0])
    if chosen.slopes[0] <= 0:
        raise DataError(
            "the scores of human recordings are not the higher ones: these weights do not tell the two apart, or the "
            "labels are the wrong way round"
        )
    ends = (np.array(supported) - chosen.apply(np.zeros(1))) / chosen.slopes[0]
    scores = np.concatenate([each.scores for each in recordings])
    lowest, highest = np.clip(ends, scores.min(), scores.max()).tolist()
    return chosen, lowest, highest


def _joined(recordings: Sequence[Recording], duration: int) -> list[Recording]:
    """Recordings of `duration` windows: pieces in turn of the recordings of one voice and one system."""
    groups: dict[tuple[bool, str, str], list[Recording]] = {}
    for each in recordings:
        groups.setdefault((each.is_human, each.group, each.system), []).append(each)
    joined = []
    for members in groups.values():
        pieces = [piece for each in members for piece in _pieces(each)]
        owners = [each for each in members for _ in range(each.pieces)]
        for start in range(0, len(pieces) - duration + 1, duration):
            scores = np.concatenate(pieces[start : start + duration])
            # Only the scores count here; embeddings would have to be joined as well.
            joined.append(replace(owners[start], scores=scores, embeddings=np.empty((len(scores), 0))))
    return joined


def _pieces(recording: Recording) -> list[np.ndarray]:
    """The scores of windows that lie end to end; one that overlaps the last of them is added to it."""
    count = recording.pieces
    return [*(recording.scores[i : i + 1] for i in range(count - 1)), recording.scores[count - 1 :]]


def measure(
    recordings: Sequence[Recording], maps: Maps, sure: float, *, durations: Sequence[int] = DURATIONS
) -> Measured:
    """Errors and Cllr of recordings, and of such as are joined from them.

    Args:
        recordings: that are judged.
        maps: that they are judged by, fitted without them.
        sure: how sure a label must be.
        durations: windows of the joined recordings.
    """

    def shares(trials: Sequence[Recording]) -> tuple[float, float, float, float]:
        llrs, is_human = llrs_by(maps, trials), np.array([each.is_human for each in trials])
        wrong, unsure = _wrong(llrs, is_human, sure), _unsure(llrs, sure)
        bits = cllr_bits(llrs[is_human], llrs[~is_human])
        return bits, float(wrong[is_human].mean()), float(wrong[~is_human].mean()), float(unsure.mean())

    llrs, is_human = llrs_by(maps, recordings), np.array([each.is_human for each in recordings])
    bits, human_wrong, synthetic_wrong, unsure = shares(recordings)
    of_duration = {}
    for duration in durations:
        trials = _joined(recordings, duration)
        if len({each.is_human for each in trials}) == 2:
            of_duration[str(duration)] = shares(trials)
    return Measured(
        cllr=bits,
        min_cllr=min_cllr_bits(llrs[is_human], llrs[~is_human]),
        sure=sure,
        human_called_synthetic=human_wrong,
        synthetic_called_human=synthetic_wrong,
        unsure=unsure,
        durations=of_duration,
        voices=_voices(recordings, llrs, sure),
    )


def held_out_llrs(
    recordings: Sequence[Recording], calibration: DetectorCalibration
) -> Float[np.ndarray, " recordings"]:
    """The log-likelihood ratio of each recording by a map that was fitted without its voice."""
    return llrs_by(_maps_without(recordings, calibration), recordings)


def llrs_by(maps: Maps, recordings: Sequence[Recording]) -> Float[np.ndarray, " recordings"]:
    """The log-likelihood ratio of each recording by the map of its group."""
    return np.array([recording_llr(maps[each.group](each.scores)) for each in recordings])


def _maps_without(recordings: Sequence[Recording], calibration: DetectorCalibration) -> Maps:
    # The bound is that of the whole set, whose map is measured here.
    supported = supported_llrs(recordings)

    def fit_map(kept: Sequence[Recording]) -> Map:
        logistic, lowest, highest = _fit_map(kept, supported)
        return replace(calibration, logistic=logistic, lowest=lowest, highest=highest).llrs

    return maps_without(recordings, fit_map)


def maps_without(recordings: Sequence[Recording], fit_map: Callable[[Sequence[Recording]], Map]) -> Maps:
    """For each group of recordings, the map that `fit_map` makes of all others.

    With more than 20 groups several are left out together.

    Raises:
        DataError: without some, one class is empty.
    """
    groups = sorted({each.group for each in recordings})
    folds = min(len(groups), MOST_FOLDS)
    maps: dict[str, Map] = {}
    for fold in range(folds):
        left_out = set(groups[fold::folds])
        kept = [each for each in recordings if each.group not in left_out]
        if len({each.is_human for each in kept}) < 2:
            raise DataError(f"without {', '.join(sorted(left_out))} one class is empty; give more voices")
        maps |= dict.fromkeys(left_out, fit_map(kept))
    return maps


def _voices(recordings: Sequence[Recording], llrs: np.ndarray, sure: float) -> tuple[VoiceErrors, ...]:
    """Errors of every human voice and every system, the worst first."""
    is_human = np.array([each.is_human for each in recordings])
    names = np.array([each.voice if each.is_human else each.system for each in recordings])
    wrong, unsure = _wrong(llrs, is_human, sure), _unsure(llrs, sure)
    found = []
    for human, name in sorted(set(zip(is_human.tolist(), names.tolist(), strict=True))):
        own = (is_human == human) & (names == name)
        found.append(VoiceErrors(name, human, int(own.sum()), float(wrong[own].mean()), float(unsure[own].mean())))
    return tuple(sorted(found, key=lambda each: (-each.wrong, -each.unsure, each.name)))


def _wrong(llrs: np.ndarray, is_human: np.ndarray, sure: float) -> np.ndarray:
    return np.where(is_human, -llrs, llrs) >= math.log(sure / (1 - sure))


def _unsure(llrs: np.ndarray, sure: float) -> np.ndarray:
    return np.abs(llrs) < math.log(sure / (1 - sure))
