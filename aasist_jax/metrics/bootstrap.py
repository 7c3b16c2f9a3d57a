"""Uncertainty of metrics: bootstrap intervals, and the paired comparison of two systems.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993. Trials of one speaker are correlated, so resampling
single clips gives too narrow intervals if there are few speakers. Whole speakers and, for spoofs, whole attacks can be
drawn instead. With both, the count of a trial is the count of its speaker times the count of its attack (Owen, "The
pigeonhole bootstrap", Annals of Applied Statistics 1, 2007).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Shaped

from aasist_jax.metrics.error_rates import ErrorCurve, PerResample, distinct_thresholds
from aasist_jax.metrics.scores import BonafideScores, ScoresError, SpoofScores, checked

Statistic = Callable[[ErrorCurve], PerResample]
"""A metric computed for many resamples at once, such as `min_dcf_of`; returns one number per resample."""

CHUNK_ELEMENTS = 200_000
"""The largest product of trials and resamples that is held in memory at once."""


@dataclass(frozen=True)
class Sampling:
    """The units that are drawn with replacement. By default single clips, separately in each class.

    Attributes:
        bonafide_speakers: Speaker of each bona fide trial. Speakers are drawn from both classes together, so give
            both speaker arrays or neither.
        spoof_speakers: Speaker of each spoof.
        spoof_attacks: Attack of each spoof.
    """

    bonafide_speakers: Shaped[np.ndarray, "bonafide"] | None = None
    spoof_speakers: Shaped[np.ndarray, "spoof"] | None = None
    spoof_attacks: Shaped[np.ndarray, "spoof"] | None = None

    def __post_init__(self) -> None:
        if (self.bonafide_speakers is None) != (self.spoof_speakers is None):
            raise ScoresError("speakers are given for one class only; give both, or neither to draw clips")


@dataclass(frozen=True)
class Resampling:
    """The number of resamples, and the confidence of the intervals.

    Attributes:
        resamples: Number of resamples, at least 1.
        confidence: Share of the resamples inside an interval, between 0 and 1.
        seed: The same seed gives the same result.

    Raises:
        ScoresError: `resamples` or `confidence` is out of range.
    """

    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ScoresError(f"{self.resamples} resamples were asked for; ask for at least 1, better 1000")
        if not 0 < self.confidence < 1:
            raise ScoresError(f"the confidence {self.confidence} does not lie between 0 and 1; write 95 % as 0.95")

    def interval(self, estimate: float, draws: Float[np.ndarray, "resamples"]) -> "Interval":
        """The percentile interval of an estimate, from its values on the resamples."""
        # Thresholds may be infinite, and infinite values cannot be interpolated.
        method: Literal["linear", "nearest"] = "linear" if np.isfinite(draws).all() else "nearest"
        low, high = np.quantile(draws, [(1 - self.confidence) / 2, (1 + self.confidence) / 2], method=method)
        return Interval(estimate, float(low), float(high), self.confidence)


@dataclass(frozen=True)
class Interval:
    """An estimate and its percentile interval."""

    estimate: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Comparison:
    """The comparison of system A with system B on the same trials.

    Attributes:
        difference: The metric of A minus that of B, with its interval.
        p_value: Two-sided p-value, from the share of resamples in which the sign of the difference is reversed. At
            least 2 / (resamples + 1).
    """

    difference: Interval
    p_value: float


CLIPS = Sampling()
RESAMPLING = Resampling()


def bootstrap_intervals(
    statistics: Mapping[str, Statistic],
    bonafide: BonafideScores,
    spoof: SpoofScores,
    sampling: Sampling = CLIPS,
    resampling: Resampling = RESAMPLING,
) -> dict[str, Interval]:
    """Percentile intervals of several metrics on the same resamples.

    Args:
        statistics: Metrics by name.
        bonafide: Scores of bona fide trials.
        spoof: Scores of spoofs.
        sampling: What is drawn; single clips by default.
        resampling: How often, and what an interval holds.

    Raises:
        ScoresError: The scores or the sampling cannot be used.
    """
    trials = _Trials.of(bonafide, spoof)
    estimates = {name: float(statistic(trials.curve())) for name, statistic in statistics.items()}
    drawn: dict[str, list[PerResample]] = {name: [] for name in statistics}
    for counts in _draws(bonafide.size, spoof.size, sampling, resampling):
        curve = trials.curve(*counts)
        for name, statistic in statistics.items():
            drawn[name].append(statistic(curve))
    return {name: resampling.interval(estimates[name], np.concatenate(drawn[name])) for name in statistics}


def compare_systems(
    statistics: Mapping[str, Statistic],
    bonafide: tuple[BonafideScores, BonafideScores],
    spoof: tuple[SpoofScores, SpoofScores],
    sampling: Sampling = CLIPS,
    resampling: Resampling = RESAMPLING,
) -> dict[str, Comparison]:
    """Compare two systems metric by metric, both on the same resamples of the same trials.

    Args:
        statistics: Metrics by name.
        bonafide: Scores by system A and by system B of the same bona fide trials, in the same order.
        spoof: Scores by system A and by system B of the same spoofs, in the same order.
        sampling: What is drawn; single clips by default.
        resampling: How often, and what an interval holds.

    Raises:
        ScoresError: The scores or the sampling cannot be used.
    """
    a, b = (_Trials.of(*scores) for scores in zip(bonafide, spoof, strict=True))
    drawn: dict[str, list[PerResample]] = {name: [] for name in statistics}
    for counts in _draws(bonafide[0].size, spoof[0].size, sampling, resampling):
        curve_a, curve_b = a.curve(*counts), b.curve(*counts)
        for name, statistic in statistics.items():
            drawn[name].append(statistic(curve_a) - statistic(curve_b))
    comparisons = {}
    for name, statistic in statistics.items():
        difference = float(statistic(a.curve()) - statistic(b.curve()))
        draws = np.concatenate(drawn[name])
        one_sided = min(np.sum(draws <= 0), np.sum(draws >= 0))
        comparisons[name] = Comparison(
            resampling.interval(difference, draws),
            float(min(1.0, 2 * (one_sided + 1) / (draws.size + 1))),
        )
    return comparisons


def bootstrap_classes(
    statistic: Callable[..., float],
    *classes: Float[np.ndarray, "_"],
    resampling: Resampling = RESAMPLING,
) -> Interval:
    """Percentile interval of a function of any number of classes, such as `min_a_dcf`; clips are drawn.

    The function is called once per resample, which is slower than `bootstrap_intervals`.

    Args:
        statistic: Takes the scores of the classes, in the order given, and returns a number.
        *classes: Scores of each class.
        resampling: Number of resamples, and confidence of the interval.

    Raises:
        ScoresError: The function rejects the scores.
    """
    random = np.random.default_rng(resampling.seed)
    draws = [
        statistic(*(random.choice(scores, scores.size) for scores in classes)) for _ in range(resampling.resamples)
    ]
    return resampling.interval(float(statistic(*classes)), np.array(draws))


@dataclass(frozen=True)
class _Trials:
    """The order of the scores of two classes, and the number of scores below each threshold."""

    thresholds: np.ndarray
    bonafide_order: np.ndarray
    spoof_order: np.ndarray
    bonafide_below: np.ndarray
    spoof_below: np.ndarray

    @classmethod
    def of(cls, bonafide: np.ndarray, spoof: np.ndarray) -> "_Trials":
        bonafide, spoof = checked(bonafide, "bona fide"), checked(spoof, "spoof")
        bonafide_order, spoof_order = np.argsort(bonafide), np.argsort(spoof)
        bonafide, spoof = bonafide[bonafide_order], spoof[spoof_order]
        thresholds = distinct_thresholds(bonafide, spoof)
        return cls(
            thresholds,
            bonafide_order,
            spoof_order,
            np.searchsorted(bonafide, thresholds),
            np.searchsorted(spoof, thresholds),
        )

    def curve(
        self,
        bonafide_counts: Int[np.ndarray, "resamples bonafide"] | None = None,
        spoof_counts: Int[np.ndarray, "resamples spoof"] | None = None,
    ) -> ErrorCurve:
        """The error counts with each trial counted as often as it was drawn; by default once."""
        if bonafide_counts is None or spoof_counts is None:
            return ErrorCurve(self.thresholds, self.bonafide_below, self.spoof_order.size - self.spoof_below)
        missed = _running_total(bonafide_counts[:, self.bonafide_order])[:, self.bonafide_below]
        turned_away = _running_total(spoof_counts[:, self.spoof_order])[:, self.spoof_below]
        return ErrorCurve(self.thresholds, missed, turned_away[:, -1:] - turned_away)


def _running_total(counts: Int[np.ndarray, "resamples trials"]) -> Int[np.ndarray, "resamples trials+1"]:
    total = np.zeros((counts.shape[0], counts.shape[1] + 1), dtype=np.int64)
    np.cumsum(counts, axis=1, out=total[:, 1:])
    return total


def _draws(
    bonafide: int, spoof: int, sampling: Sampling, resampling: Resampling
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield how often each trial is drawn, (resamples, trials) per class, in chunks of resamples."""
    random = np.random.default_rng(resampling.seed)
    rows = max(1, CHUNK_ELEMENTS // (bonafide + spoof))
    left = resampling.resamples
    while left:
        rows = min(rows, left)
        bonafide_counts, spoof_counts = _draw_chunk(random, rows, bonafide, spoof, sampling)
        # With few speakers, a draw may have no trial of one class; it is dropped, as it has no error rates.
        usable = (bonafide_counts.sum(axis=1) > 0) & (spoof_counts.sum(axis=1) > 0)
        if not usable.any():
            raise ScoresError("hardly any resample holds both classes; draw clips instead of speakers")
        left -= int(usable.sum())
        yield bonafide_counts[usable], spoof_counts[usable]


def _draw_chunk(
    random: np.random.Generator, rows: int, bonafide: int, spoof: int, sampling: Sampling
) -> tuple[np.ndarray, np.ndarray]:
    if sampling.bonafide_speakers is None or sampling.spoof_speakers is None:
        bonafide_counts = _counts(random, rows, bonafide)
        spoof_counts = _counts(random, rows, spoof)
    else:
        speakers = np.concatenate([sampling.bonafide_speakers, sampling.spoof_speakers])
        names, speaker = np.unique(speakers, return_inverse=True)
        both = _counts(random, rows, names.size)[:, speaker]
        bonafide_counts, spoof_counts = both[:, :bonafide], both[:, bonafide:]
    if sampling.spoof_attacks is not None:
        names, attack = np.unique(sampling.spoof_attacks, return_inverse=True)
        spoof_counts = spoof_counts * _counts(random, rows, names.size)[:, attack]
    return bonafide_counts, spoof_counts


def _counts(random: np.random.Generator, rows: int, units: int) -> Int[np.ndarray, "rows units"]:
    """How often each unit is drawn when `units` of them are drawn with replacement."""
    drawn = random.integers(0, units, size=(rows, units), dtype=np.int32)
    return np.stack([np.bincount(row, minlength=units) for row in drawn])
