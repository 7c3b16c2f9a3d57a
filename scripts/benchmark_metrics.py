"""Time every metric on as many trials as ASVspoof 2019 LA eval has (7,355 bona fide, 63,882 spoofs).

    python scripts/benchmark_metrics.py [--scores FILE --asv-scores FILE]

Without files it makes up Gaussian scores. Each metric should take less than 0.2 s, and 1,000 resamples of the EER
less than 20 s on two cores.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from aasist_jax import metrics
from aasist_jax.commands.app import run
from aasist_jax.errors import ScoreFileError
from aasist_jax.evaluation.score_files import join, read_scores
from aasist_jax.evaluation.verification_scores import VerificationScores, read_asv_scores


def main(
    scores: Annotated[Path | None, typer.Option(help="Score file that holds its keys (2019 layout).")] = None,
    asv_scores: Annotated[Path | None, typer.Option(help="The organisers' ASV scores.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each metric; the median is shown.")] = 5,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap.")] = 1000,
) -> None:
    """Time every metric, and the bootstrap of the EER."""
    random = np.random.default_rng(0)
    if scores is None:
        bonafide, spoof = random.normal(5, 2, 7_355), random.normal(-5, 2, 63_882)
    else:
        system = read_scores(scores)
        if system.keys is None:
            raise ScoreFileError(f"{scores} holds no keys; give a file of the 2019 layout")
        trials = join(system, system.keys)
        bonafide, spoof = trials.bonafide, trials.spoof
    if asv_scores is None:
        asv = VerificationScores(random.normal(4, 1, 5_370), random.normal(0, 1, 33_327), random.normal(3, 1.5, 63_882))
    else:
        asv = read_asv_scores(asv_scores)
    rates = metrics.asv_error_rates(asv.target, asv.nontarget, asv.spoof)
    classes = bonafide, spoof

    def bootstrap() -> object:
        statistics: dict[str, metrics.Statistic] = {"eer": lambda curve: metrics.equal_error_rate_of(curve)[0]}
        return metrics.bootstrap_intervals(statistics, *classes, resampling=metrics.Resampling(resamples))

    timed: list[tuple[str, int, Callable[[], object]]] = [
        ("EER", repeats, lambda: metrics.equal_error_rate(*classes)),
        ("EER on the convex hull", repeats, lambda: metrics.convex_hull_equal_error_rate(*classes)),
        ("DET points", repeats, lambda: metrics.det_points(*classes)),
        ("AUC", repeats, lambda: metrics.area_under_curve(*classes)),
        ("minDCF", repeats, lambda: metrics.min_dcf(*classes)),
        ("actDCF", repeats, lambda: metrics.act_dcf(*classes)),
        ("Cllr", repeats, lambda: metrics.cllr_bits(*classes)),
        ("min Cllr", repeats, lambda: metrics.min_cllr_bits(*classes)),
        ("min t-DCF 2019", repeats, lambda: metrics.min_tdcf_2019(*classes, rates)),
        ("min t-DCF 2021", repeats, lambda: metrics.min_tdcf_2021(*classes, rates)),
        ("a-DCF (of the ASV scores)", repeats, lambda: metrics.min_a_dcf(asv.target, asv.nontarget, asv.spoof)),
        (
            "t-EER",
            repeats,
            lambda: metrics.tandem_equal_error_rate(*classes, asv.target, asv.nontarget, asv.spoof),
        ),
        ("threshold for 1 % misses", repeats, lambda: metrics.threshold_for_miss_rate(bonafide, 0.01)),
        ("threshold for 1 % false alarms", repeats, lambda: metrics.threshold_for_false_alarm_rate(spoof, 0.01)),
        ("expected cost", repeats, lambda: metrics.expected_cost(*classes, 0.0)),
        (f"{resamples} resamples of the EER", 1, bootstrap),
    ]
    table = Table("Metric", "Median, s", title=f"{bonafide.size} bona fide trials, {spoof.size} spoofs", box=None)
    for name, runs, metric in timed:
        seconds = []
        for _ in range(runs):
            start = time.perf_counter()
            metric()
            seconds.append(time.perf_counter() - start)
        table.add_row(name, f"{np.median(seconds):.4f}")
    Console().print(table)


if __name__ == "__main__":
    run(main)
