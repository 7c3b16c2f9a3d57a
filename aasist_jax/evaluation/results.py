"""Every figure about one system on one set of trials, and the comparison of two systems."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from aasist_jax.errors import ScoreFileError
from aasist_jax.evaluation.breakdowns import Group, break_down, informative_columns
from aasist_jax.evaluation.score_files import AsvScores, Trials
from aasist_jax.metrics import (
    AsvErrorRates,
    Comparison,
    DetectionCosts,
    Interval,
    Sampling,
    Statistic,
    act_dcf_of,
    area_under_curve_of,
    asv_error_rates,
    bootstrap_intervals,
    cheapest_threshold,
    cllr_bits_of,
    compare_systems,
    convex_hull_equal_error_rate_of,
    det_points,
    equal_error_rate_of,
    min_cllr_bits_of,
    min_dcf_of,
    min_tdcf_2019_of,
    min_tdcf_2021_of,
    tandem_equal_error_rate_of,
)


@dataclass(frozen=True)
class BootstrapOptions:
    """How intervals are made.

    Attributes:
        resamples: 0 for no intervals.
        confidence: Share of the resamples inside an interval.
        by_speaker: Draw whole speakers instead of clips.
        by_attack: Draw whole attacks too, on the spoofs' side.
        seed: The same seed gives the same intervals.
    """

    resamples: int = 1000
    confidence: float = 0.95
    by_speaker: bool = False
    by_attack: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """The figures; rates from 0 to 1, costs normalised, calibration losses in bits.

    What needs ASV scores is None without them. `eer_per_attack` is empty where the keys name no attacks.
    `intervals` holds an interval for each figure by its name, `breakdowns` the groups of each column.
    """

    system: str
    n_bonafide: int
    n_spoof: int
    eer: float
    eer_threshold: float
    eer_convex_hull: float
    auc: float
    min_tdcf_2019: float | None
    min_tdcf_2021: float | None
    t_eer: float | None
    min_dcf: float
    act_dcf: float
    min_dcf_threshold: float
    costs: DetectionCosts
    cllr_bits: float
    min_cllr_bits: float
    eer_per_attack: dict[str, float]
    asv: AsvErrorRates | None
    intervals: dict[str, Interval] = field(default_factory=dict)
    breakdowns: dict[str, list[Group]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON can hold them; an infinite threshold becomes a string."""
        figures = asdict(self)
        if not np.isfinite(self.min_dcf_threshold):
            figures["min_dcf_threshold"] = str(self.min_dcf_threshold)
        return figures


def evaluate(
    trials: Trials,
    system: str,
    asv_scores: AsvScores | None = None,
    costs: DetectionCosts | None = None,
    bootstrap: BootstrapOptions | None = None,
) -> Evaluation:
    """Compute every figure of one system.

    The ASV's error rates are held fixed in the intervals, as the challenges hold them; `t_eer`, which is slow to
    resample, has no interval.

    Raises:
        ScoresError: The scores do not suit a metric.
        ScoreFileError: Speakers or attacks are to be drawn and the keys do not name them.
    """
    costs, bootstrap = costs or DetectionCosts(), bootstrap or BootstrapOptions()
    asv = asv_error_rates(asv_scores.target, asv_scores.nontarget, asv_scores.spoof) if asv_scores else None
    statistics = _statistics(asv, costs)
    curve = det_points(trials.bonafide, trials.spoof)
    figures = {name: float(statistic(curve)) for name, statistic in statistics.items()}
    threshold = float(equal_error_rate_of(curve)[1])
    t_eer = None
    if asv_scores:
        t_eer = tandem_equal_error_rate_of(curve, asv_scores.target, asv_scores.nontarget, asv_scores.spoof).eer
    intervals = {}
    if bootstrap.resamples:
        intervals = bootstrap_intervals(
            statistics,
            trials.bonafide,
            trials.spoof,
            sampling=_sampling(trials, bootstrap),
            resamples=bootstrap.resamples,
            confidence=bootstrap.confidence,
            seed=bootstrap.seed,
        )
    breakdowns = {
        column: break_down(
            trials,
            column,
            resamples=bootstrap.resamples,
            confidence=bootstrap.confidence,
            speaker_column="speaker" if bootstrap.by_speaker else None,
            seed=bootstrap.seed,
        )
        for column in informative_columns(trials)
    }
    per_attack = {group.value: group.eer for group in breakdowns.get("attack", []) if group.eer is not None}
    warnings = list(trials.warnings)
    if figures["eer"] > 0.5:
        warnings.append(
            f"the EER is {figures['eer']:.1%}: the scores seem to rise with spoofs; higher must mean bona fide, so "
            "turn their sign"
        )
    return Evaluation(
        system=system,
        n_bonafide=trials.bonafide.size,
        n_spoof=trials.spoof.size,
        eer=figures["eer"],
        eer_threshold=threshold,
        eer_convex_hull=figures["eer_convex_hull"],
        auc=figures["auc"],
        min_tdcf_2019=figures.get("min_tdcf_2019"),
        min_tdcf_2021=figures.get("min_tdcf_2021"),
        t_eer=t_eer,
        min_dcf=figures["min_dcf"],
        act_dcf=figures["act_dcf"],
        min_dcf_threshold=cheapest_threshold(trials.bonafide, trials.spoof, costs),
        costs=costs,
        cllr_bits=figures["cllr_bits"],
        min_cllr_bits=figures["min_cllr_bits"],
        eer_per_attack=dict(sorted(per_attack.items())),
        asv=asv,
        intervals=intervals,
        breakdowns=breakdowns,
        warnings=tuple(warnings),
    )


def compare(
    a: Trials,
    b: Trials,
    asv_scores: AsvScores | None = None,
    costs: DetectionCosts | None = None,
    bootstrap: BootstrapOptions | None = None,
) -> dict[str, Comparison]:
    """Compare system A with system B, metric by metric, on the trials of one key file.

    Raises:
        ScoreFileError: The two are not on the same trials, or speakers or attacks are to be drawn and the keys do
            not name them.
        ScoresError: The scores do not suit a metric, or there are no resamples.
    """
    if not np.array_equal(a.utterances, b.utterances):
        raise ScoreFileError("the two systems are not scored on the same trials; use one key file for both")
    bootstrap = bootstrap or BootstrapOptions()
    asv = asv_error_rates(asv_scores.target, asv_scores.nontarget, asv_scores.spoof) if asv_scores else None
    return compare_systems(
        _statistics(asv, costs or DetectionCosts()),
        (a.bonafide, b.bonafide),
        (a.spoof, b.spoof),
        sampling=_sampling(a, bootstrap),
        resamples=bootstrap.resamples,
        confidence=bootstrap.confidence,
        seed=bootstrap.seed,
    )


def _statistics(asv: AsvErrorRates | None, costs: DetectionCosts) -> dict[str, Statistic]:
    statistics: dict[str, Statistic] = {
        "eer": lambda curve: equal_error_rate_of(curve)[0],
        "eer_convex_hull": convex_hull_equal_error_rate_of,
        "auc": area_under_curve_of,
        "min_dcf": lambda curve: min_dcf_of(curve, costs),
        "act_dcf": lambda curve: act_dcf_of(curve, costs),
        "cllr_bits": cllr_bits_of,
        "min_cllr_bits": min_cllr_bits_of,
    }
    if asv is not None:
        rates = asv
        statistics["min_tdcf_2019"] = lambda curve: min_tdcf_2019_of(curve, rates)
        statistics["min_tdcf_2021"] = lambda curve: min_tdcf_2021_of(curve, rates)
    return statistics


def _sampling(trials: Trials, bootstrap: BootstrapOptions) -> Sampling:
    def column(name: str) -> np.ndarray:
        if name not in trials.columns:
            there = ", ".join(trials.columns) or "none"
            raise ScoreFileError(f"the keys have no {name} column to resample by; they have: {there}")
        return trials.columns[name]

    is_bonafide = trials.is_bonafide
    speakers = column("speaker") if bootstrap.by_speaker else None
    return Sampling(
        bonafide_speakers=None if speakers is None else speakers[is_bonafide],
        spoof_speakers=None if speakers is None else speakers[~is_bonafide],
        spoof_attacks=column("attack")[~is_bonafide] if bootstrap.by_attack else None,
    )
