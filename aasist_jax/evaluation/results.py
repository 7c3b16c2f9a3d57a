"""Every metric of one system on one set of trials, and the comparison of two systems."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from aasist_jax.errors import ScoreFileError
from aasist_jax.evaluation.breakdowns import Group, break_down, informative_columns
from aasist_jax.evaluation.score_files import Trials
from aasist_jax.evaluation.verification_scores import VerificationScores
from aasist_jax.metrics import calibration_loss, detection_cost, error_rates, tandem
from aasist_jax.metrics.bootstrap import (
    Comparison,
    Interval,
    Resampling,
    Sampling,
    Statistic,
    bootstrap_classes,
    bootstrap_intervals,
    compare_systems,
)
from aasist_jax.metrics.detection_cost import DetectionCosts
from aasist_jax.metrics.tandem import AsvErrorRates


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

    @property
    def resampling(self) -> Resampling:
        """How often trials are drawn; there is none without resamples."""
        return Resampling(self.resamples, self.confidence, self.seed)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics; rates from 0 to 1, costs normalised, calibration losses in bits.

    What needs ASV scores is None without them: both t-DCFs, the t-EER and `asv`. So is `min_a_dcf` without the scores
    of spoofing-aware verification. `eer_per_attack` is empty where the keys name no attacks. `intervals` holds the
    interval of each metric by its name, and `breakdowns` the groups of each column.
    """

    system: str
    n_bonafide: int
    n_spoof: int
    eer: float
    eer_threshold: float
    eer_convex_hull: float
    auc: float
    min_tdcf_2019: float | None = None
    min_tdcf_2021: float | None = None
    t_eer: float | None = None
    min_a_dcf: float | None = None
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
        """The metrics as JSON can hold them; an infinite threshold becomes a string."""
        return _finite_or_text(asdict(self))


def evaluate(
    trials: Trials,
    system: str,
    asv_scores: VerificationScores | None = None,
    costs: DetectionCosts | None = None,
    bootstrap: BootstrapOptions | None = None,
    sasv_scores: VerificationScores | None = None,
) -> Evaluation:
    """Compute every metric of one system.

    The ASV's trials are held fixed in the intervals, as the challenges hold its error rates. For the a-DCF clips are
    drawn, each class by itself, whatever is drawn for the other metrics.

    Args:
        trials: The countermeasure's.
        system: What a report calls it.
        asv_scores: Of the verification system beside the countermeasure, for t-DCF and t-EER.
        costs: Of minDCF and actDCF.
        bootstrap: How intervals are made.
        sasv_scores: Of one system that verifies speakers and turns spoofs away, for the a-DCF.

    Raises:
        ScoresError: The scores do not suit a metric.
        ScoreFileError: Speakers or attacks are to be drawn and the keys do not name them.
    """
    costs, bootstrap = costs or DetectionCosts(), bootstrap or BootstrapOptions()
    asv = tandem.asv_error_rates(*asv_scores.classes) if asv_scores else None
    # Thresholds depend on the scale of the scores: they have intervals, and no place in a comparison.
    statistics = _statistics(asv_scores, asv, costs) | {
        "eer_threshold": lambda curve: error_rates.equal_error_rate_of(curve)[1],
        "min_dcf_threshold": lambda curve: detection_cost.cheapest_threshold_of(curve, costs),
    }
    curve = error_rates.det_points(trials.bonafide, trials.spoof)
    values = {name: float(statistic(curve)) for name, statistic in statistics.items()}
    resampling = bootstrap.resampling if bootstrap.resamples else None
    intervals = {}
    if resampling:
        sampling = _sampling(trials, bootstrap)
        intervals = bootstrap_intervals(statistics, trials.bonafide, trials.spoof, sampling, resampling)
    if sasv_scores:
        classes = sasv_scores.classes
        values["min_a_dcf"] = tandem.min_a_dcf(*classes)
        if resampling:
            intervals["min_a_dcf"] = bootstrap_classes(tandem.min_a_dcf, *classes, resampling=resampling)
    speakers = "speaker" if bootstrap.by_speaker else None
    columns = informative_columns(trials)
    breakdowns = {name: break_down(trials, name, resampling=resampling, speaker_column=speakers) for name in columns}
    per_attack = {group.value: group.eer for group in breakdowns.get("attack", []) if group.eer is not None}
    return Evaluation(
        system=system,
        n_bonafide=trials.bonafide.size,
        n_spoof=trials.spoof.size,
        **values,
        costs=costs,
        eer_per_attack=dict(sorted(per_attack.items())),
        asv=asv,
        intervals=intervals,
        breakdowns=breakdowns,
        warnings=(*trials.warnings, *_sign_warning(values["eer"])),
    )


def _sign_warning(eer: float) -> list[str]:
    """What to say where the scores seem to be turned round."""
    if eer <= 0.5:
        return []
    return [
        f"the EER is {eer:.1%}: the scores seem to rise with spoofs; higher must mean bona fide, so turn their sign"
    ]


def compare(
    a: Trials,
    b: Trials,
    asv_scores: VerificationScores | None = None,
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
    asv = tandem.asv_error_rates(*asv_scores.classes) if asv_scores else None
    return compare_systems(
        _statistics(asv_scores, asv, costs or DetectionCosts()),
        (a.bonafide, b.bonafide),
        (a.spoof, b.spoof),
        _sampling(a, bootstrap),
        bootstrap.resampling,
    )


def _statistics(
    asv_scores: VerificationScores | None, asv: AsvErrorRates | None, costs: DetectionCosts
) -> dict[str, Statistic]:
    statistics: dict[str, Statistic] = {
        "eer": lambda curve: error_rates.equal_error_rate_of(curve)[0],
        "eer_convex_hull": error_rates.convex_hull_equal_error_rate_of,
        "auc": error_rates.area_under_curve_of,
        "min_dcf": lambda curve: detection_cost.min_dcf_of(curve, costs),
        "act_dcf": lambda curve: detection_cost.act_dcf_of(curve, costs),
        "cllr_bits": calibration_loss.cllr_bits_of,
        "min_cllr_bits": calibration_loss.min_cllr_bits_of,
    }
    if asv_scores is not None and asv is not None:
        classes, rates = asv_scores.classes, asv
        statistics["t_eer"] = lambda curve: tandem.tandem_equal_error_rate_of(curve, *classes)
        statistics["min_tdcf_2019"] = lambda curve: tandem.min_tdcf_2019_of(curve, rates)
        statistics["min_tdcf_2021"] = lambda curve: tandem.min_tdcf_2021_of(curve, rates)
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


def _finite_or_text(value: Any) -> Any:
    """The same nest of dictionaries and lists, with the name of every float that JSON has no word for."""
    if isinstance(value, dict):
        return {name: _finite_or_text(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_or_text(inner) for inner in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
