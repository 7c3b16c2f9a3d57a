"""The commands on score files: `metrics`, `calibrate`, `fuse` and `llr`. None needs weights or JAX."""

import enum
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table as RichTable

from aasist_jax.calibration.llr import (
    Calibration,
    bayes_decisions,
    fit_isotonic,
    fit_logistic,
    load_calibration,
    probability_of_spoof,
    save_calibration,
)
from aasist_jax.errors import ScoreFileError
from aasist_jax.evaluation.report import (
    Table,
    breakdown_table,
    comparison_table,
    metrics_json,
    metrics_table,
    write_report,
)
from aasist_jax.evaluation.results import BootstrapOptions, compare, evaluate
from aasist_jax.evaluation.score_files import (
    Keys,
    Scores,
    Trials,
    in_order,
    join,
    read_keys,
    read_scores,
    write_scores,
)
from aasist_jax.evaluation.verification_scores import read_asv_scores, read_sasv_scores
from aasist_jax.metrics.calibration_loss import cllr_bits, min_cllr_bits
from aasist_jax.metrics.detection_cost import DetectionCosts

MOST_ROWS = 15
"""Groups of a breakdown, worst first, that the terminal shows."""


class Method(enum.StrEnum):
    """How one system's scores are calibrated."""

    logistic = "logistic"
    isotonic = "isotonic"


class Layout(enum.StrEnum):
    """Layouts of a score file that hold no keys."""

    asvspoof2021 = "2021"
    asvspoof5 = "asvspoof5"


ScoresOption = Annotated[Path, typer.Option(help="Score file in the ASVspoof 2019, 2021 or 5 layout.")]
KeysOption = Annotated[
    Path | None,
    typer.Option(help="Protocol or key file; not needed where the score file holds the keys (2019 layout)."),
]
WhereOption = Annotated[
    list[str] | None, typer.Option(help="COLUMN=VALUE: keep to these trials, as in subset=eval; can be repeated.")
]
PriorOption = Annotated[float, typer.Option(help="Prior of bona fide speech that the fit weighs the classes by.")]
PSpoofOption = Annotated[float, typer.Option(help="Prior probability of a spoof.")]
CostMissOption = Annotated[float, typer.Option(help="Cost of turning bona fide speech away.")]
CostFalseAlarmOption = Annotated[float, typer.Option(help="Cost of letting a spoof through.")]
OutOption = Annotated[Path, typer.Option(help="The calibration is written here, as JSON.")]


def metrics(
    scores: ScoresOption,
    keys: KeysOption = None,
    asv_scores: Annotated[Path | None, typer.Option(help="The organisers' ASV scores, for t-DCF and t-EER.")] = None,
    sasv_scores: Annotated[
        Path | None,
        typer.Option(
            help="Scores of one spoofing-aware verification system, for the a-DCF: `group key score` a line (key "
            "target, nontarget or spoof), or ASVspoof 5's table with --sasv-keys. CM and ASV scores make no a-DCF: it "
            "judges one score a trial."
        ),
    ] = None,
    sasv_keys: Annotated[Path | None, typer.Option(help="ASVspoof 5's keys of those trials (track 2).")] = None,
    compare_with: Annotated[
        Path | None, typer.Option("--compare", help="Score file of a second system on the same trials.")
    ] = None,
    where: WhereOption = None,
    json: Annotated[Path | None, typer.Option(help="Write the numbers here; - for standard output.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write report.html, report.md and figures here.")] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap; 0 for no intervals.")] = 1000,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    by_speaker: Annotated[bool, typer.Option("--by-speaker", help="Resample whole speakers, not clips.")] = False,
    by_attack: Annotated[bool, typer.Option("--by-attack", help="Resample whole attacks as well.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    p_spoof: PSpoofOption = 0.05,
    cost_miss: CostMissOption = 1.0,
    cost_false_alarm: CostFalseAlarmOption = 10.0,
) -> None:
    """Measure any system's score file: EER, t-DCF, minDCF, Cllr and more, with confidence intervals."""
    if compare_with is not None and not resamples:
        raise ScoreFileError("a comparison needs resamples; leave out --resamples 0")
    if sasv_keys is not None and sasv_scores is None:
        raise ScoreFileError("--sasv-keys goes with --sasv-scores; give both")
    costs = DetectionCosts(p_spoof, cost_miss, cost_false_alarm)
    bootstrap = BootstrapOptions(resamples, confidence, by_speaker, by_attack, seed)
    first = read_scores(scores)
    truth = _keys(first, keys, where)
    trials = join(first, truth)
    asv = read_asv_scores(asv_scores) if asv_scores else None
    sasv = None
    if sasv_scores is not None:
        sasv = read_sasv_scores(sasv_scores, sasv_keys) if sasv_keys else read_asv_scores(sasv_scores)
    with Console(stderr=True).status(f"{resamples} resamples" if resamples else "measuring"):
        evaluation = evaluate(trials, scores.stem, asv, costs, bootstrap, sasv)
        other, comparison = None, None
        if compare_with is not None:
            second = join(read_scores(compare_with), truth)
            name = compare_with.stem if compare_with.stem != scores.stem else str(compare_with)
            other, comparison = (name, second), compare(trials, second, asv, costs, bootstrap)
    for warning in evaluation.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    text = metrics_json(evaluation, comparison)
    if json is not None and str(json) == "-":
        print(text, end="")
    else:
        _print(metrics_table(evaluation))
        if comparison:
            _print(comparison_table(comparison))
        for column in evaluation.breakdowns:
            header, rows = breakdown_table(evaluation, column)
            _print((header, rows[:MOST_ROWS]))
            if len(rows) > MOST_ROWS:
                print(f"... and {len(rows) - MOST_ROWS} more, in --report and --json")
    if json is not None and str(json) != "-":
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_text(text, encoding="utf-8")
    if report is not None:
        page = write_report(report, evaluation, trials, other=other, comparison=comparison)
        print(f"report: {page}", file=sys.stderr)


def calibrate(
    scores: ScoresOption,
    out: OutOption,
    keys: KeysOption = None,
    where: WhereOption = None,
    method: Annotated[Method, typer.Option(help="Affine, or any rising curve.")] = Method.logistic,
    prior: PriorOption = 0.5,
) -> None:
    """Fit what turns one system's scores into log-likelihood ratios, on development scores."""
    system = read_scores(scores)
    trials = join(system, _keys(system, keys, where))
    if method is Method.logistic:
        calibration: Calibration = fit_logistic(trials.scores, trials.is_bonafide, prior)
    else:
        calibration = fit_isotonic(trials.scores, trials.is_bonafide)
    save_calibration(calibration, out)
    _print_cllr([(scores.stem, trials.scores), ("calibrated", calibration.apply(trials.scores))], trials)


def fuse(
    scores: Annotated[list[Path], typer.Option(help="Score file of one system; give at least two.")],
    out: OutOption,
    keys: KeysOption = None,
    where: WhereOption = None,
    prior: PriorOption = 0.5,
) -> None:
    """Fit what turns several systems' scores into one log-likelihood ratio, on development scores."""
    if len(scores) < 2:
        raise ScoreFileError("fusion needs the scores of at least two systems; give --scores twice")
    systems = [read_scores(path) for path in scores]
    truth = _keys(systems[0], keys, where)
    joined = [join(system, truth) for system in systems]
    stacked = np.column_stack([trials.scores for trials in joined])
    calibration = fit_logistic(stacked, joined[0].is_bonafide, prior)
    save_calibration(calibration, out)
    rows = [(path.stem, trials.scores) for path, trials in zip(scores, joined, strict=True)]
    _print_cllr([*rows, ("fused", calibration.apply(stacked))], joined[0])


def llr(
    scores: Annotated[list[Path], typer.Option(help="Score file; one a system, in the order they were fitted.")],
    calibration: Annotated[Path, typer.Option(help="JSON that `calibrate` or `fuse` wrote.")],
    out: Annotated[Path, typer.Option(help="Score file to write.")],
    layout: Annotated[Layout, typer.Option(help="Of the file to write.")] = Layout.asvspoof2021,
    probability: Annotated[
        bool, typer.Option("--probability", help="Write P(spoof) at the prior --p-spoof instead.")
    ] = False,
    p_spoof: PSpoofOption = 0.05,
    cost_miss: CostMissOption = 1.0,
    cost_false_alarm: CostFalseAlarmOption = 10.0,
) -> None:
    """Turn scores into log-likelihood ratios (bona fide over spoof, natural log), or into P(spoof)."""
    costs = DetectionCosts(p_spoof, cost_miss, cost_false_alarm)
    systems = [read_scores(path) for path in scores]
    first = systems[0]
    stacked = np.column_stack([in_order(system, first.utterances, first.source) for system in systems])
    ratios = load_calibration(calibration).apply(stacked)
    accepted = int(bayes_decisions(ratios, costs).sum())
    values = probability_of_spoof(ratios, p_spoof) if probability else ratios
    write_scores(out, Scores(str(out), first.utterances, values), layout.value)
    print(f"threshold {costs.bayes_threshold:.4f}: {accepted} of {ratios.size} accepted as bona fide")


def _keys(scores: Scores, path: Path | None, where: list[str] | None) -> Keys:
    """The keys of a file, or those that the score file holds itself, kept to the trials asked for."""
    keys = read_keys(path) if path else scores.keys
    if keys is None:
        raise ScoreFileError(f"{scores.source} holds no keys; give the protocol with --keys")
    for condition in where or []:
        column, equals, value = condition.partition("=")
        if not equals:
            raise ScoreFileError(f"--where {condition!r} is not COLUMN=VALUE")
        keys = keys.where(column, value)
    return keys


def _print(table: Table) -> None:
    header, rows = table
    rich = RichTable(box=None, pad_edge=False)
    for index, name in enumerate(header):
        rich.add_column(name, justify="right" if index else "left")
    for row in rows:
        rich.add_row(*row)
    Console().print(rich)


def _print_cllr(systems: list[tuple[str, np.ndarray]], trials: Trials) -> None:
    rows = []
    for name, scores in systems:
        classes = scores[trials.is_bonafide], scores[~trials.is_bonafide]
        rows.append((name, f"{cllr_bits(*classes):.4f}", f"{min_cllr_bits(*classes):.4f}"))
    _print((("On these trials", "Cllr, bits", "min Cllr, bits"), rows))
