"""aasist-jax metrics: Measure a score file: EER, t-DCF, Cllr and more.

The scores can be those of any system. Every number comes with a confidence interval.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands.options import (
    RARE,
    AsvScores,
    BonafideIs,
    CostFalseAlarm,
    CostMiss,
    Keys,
    PSpoof,
    Resamples,
    ScoreName,
    Scores,
    Where,
    chosen_keys,
    joined,
)
from aasist_jax.errors import ScoreFileError
from aasist_jax.runtime.messages import print_warning, say

MOST_ROWS = 15
"""Groups of a breakdown, worst first, that the terminal shows."""


def metrics(
    scores: Scores,
    keys: Keys = None,
    asv_scores: AsvScores = None,
    compare_with: Annotated[
        Path | None, typer.Option("--compare", help="Score file of a second system on the same trials.")
    ] = None,
    where: Where = None,
    json: Annotated[Path | None, typer.Option(help="File for the numbers; - for standard output.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for report.html, report.md and figures.")] = None,
    resamples: Resamples = 1000,
    confidence: Annotated[float, typer.Option(help="Level of the confidence intervals.", rich_help_panel=RARE)] = 0.95,
    by_speaker: Annotated[
        bool, typer.Option("--by-speaker", help="Bootstrap over speakers instead of clips.", rich_help_panel=RARE)
    ] = False,
    by_attack: Annotated[
        bool, typer.Option("--by-attack", help="Bootstrap over attacks as well.", rich_help_panel=RARE)
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.", rich_help_panel=RARE)] = 0,
    p_spoof: PSpoof = 0.05,
    cost_miss: CostMiss = 1.0,
    cost_false_alarm: CostFalseAlarm = 10.0,
    sasv_scores: Annotated[
        Path | None,
        typer.Option(
            help="For the a-DCF: scores of a system that verifies speakers and rejects spoofs, as `group key score`.",
            rich_help_panel=RARE,
        ),
    ] = None,
    sasv_keys: Annotated[
        Path | None, typer.Option(help="Keys of --sasv-scores, from ASVspoof 5, track 2.", rich_help_panel=RARE)
    ] = None,
    name: ScoreName = "",
    bonafide_is: BonafideIs = "",
) -> None:
    """Measure a score file; write the files that are asked for, and then print the tables."""
    from aasist_jax.evaluation.report import metrics_json, write_report
    from aasist_jax.evaluation.results import BootstrapOptions, compare, evaluate
    from aasist_jax.evaluation.score_files import read_scores
    from aasist_jax.evaluation.verification_scores import read_asv_scores, read_sasv_scores
    from aasist_jax.metrics.detection_cost import DetectionCosts
    from aasist_jax.runtime.files import write_text
    from aasist_jax.runtime.progress import Progress

    if compare_with is not None and not resamples:
        raise ScoreFileError("a comparison needs resamples; leave out --resamples 0")
    if sasv_keys is not None and sasv_scores is None:
        raise ScoreFileError("--sasv-keys goes with --sasv-scores; give both")
    costs = DetectionCosts(p_spoof, cost_miss, cost_false_alarm)
    bootstrap = BootstrapOptions(resamples, confidence, by_speaker, by_attack, seed)
    first = read_scores(scores, name, bonafide_is)
    truth = chosen_keys(first, keys, where, bonafide_is)
    trials = joined(first, truth)
    asv = read_asv_scores(asv_scores) if asv_scores else None
    sasv = None
    if sasv_scores is not None:
        sasv = read_sasv_scores(sasv_scores, sasv_keys) if sasv_keys else read_asv_scores(sasv_scores)
    with Progress() as progress:
        progress.update(f"{resamples} resamples" if resamples else "measuring", 0, None)
        evaluation = evaluate(trials, scores.stem, asv, costs, bootstrap, sasv)
        other, comparison = None, None
        if compare_with is not None:
            second = joined(read_scores(compare_with, name, bonafide_is), truth)
            its_name = compare_with.stem if compare_with.stem != scores.stem else str(compare_with)
            other, comparison = (its_name, second), compare(trials, second, asv, costs, bootstrap)

    # The files come first: whoever reads what is printed may leave at any moment.
    text = metrics_json(evaluation, comparison)
    if json is not None and str(json) != "-":
        json.parent.mkdir(parents=True, exist_ok=True)
        write_text(json, text)
    if report is not None:
        page = write_report(report, evaluation, trials, other=other, comparison=comparison)
        say(f"report: {page}")
    for warning in evaluation.warnings:
        print_warning(warning)
    if str(json) == "-":
        print(text, end="")
    else:
        _print_tables(evaluation, comparison)


def _print_tables(evaluation: Any, comparison: Any) -> None:
    from aasist_jax.commands.tables import print_table
    from aasist_jax.evaluation.report import breakdown_table, comparison_table, metrics_table

    print_table(*metrics_table(evaluation))
    if comparison:
        print_table(*comparison_table(comparison))
    for column in evaluation.breakdowns:
        if column == "speaker":
            print(f"{len(evaluation.breakdowns[column])} speakers, in --report and --json")
            continue
        header, rows = breakdown_table(evaluation, column)
        print_table(header, rows[:MOST_ROWS])
        if len(rows) > MOST_ROWS:
            print(f"... and {len(rows) - MOST_ROWS} more, in --report and --json")
