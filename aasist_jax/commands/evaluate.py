"""aasist-jax evaluate: Score a split of a data set, and report every metric.

Writes OUTPUT/SPLIT.txt with the scores, report.html, report.md and metrics.json. The same command continues a run that
was stopped, and keeps the scores that are there.
"""

from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.metrics import metrics
from aasist_jax.commands.options import (
    CONFIG_HELP,
    SEVERAL,
    WEIGHTS_HELP,
    AsvScores,
    ConfigKeys,
    Resamples,
    one_or_several_weights,
)


def evaluate(
    config: Annotated[Path, typer.Option(help=CONFIG_HELP)],
    weights: Annotated[str, typer.Option(help=f"{WEIGHTS_HELP} {SEVERAL}")],
    split: Annotated[str, typer.Option(help="train, dev or eval; with a CSV, any split it names.")] = "eval",
    output: Annotated[Path | None, typer.Option(help="Folder (default: results/WEIGHTS-SPLIT).")] = None,
    asv_scores: AsvScores = None,
    resamples: Resamples = 1000,
    set_: ConfigKeys = None,
) -> None:
    """Score a split into a file, and measure that file."""
    from aasist_jax.config import load_config
    from aasist_jax.data.splits import open_splits
    from aasist_jax.detection.dataset import score_dataset
    from aasist_jax.detection.detector import Detector
    from aasist_jax.runtime.progress import Progress
    from aasist_jax.runtime.start_up import prepare_to_compute
    from aasist_jax.weights.published import weights_names

    experiment, found = load_config(config, set_ or []), one_or_several_weights(weights)
    prepare_to_compute()
    folder = output or Path("results", f"{','.join(Path(name).name for name in weights_names(weights))}-{split}")
    folder.mkdir(parents=True, exist_ok=True)
    data = open_splits(experiment, [split], folder)[split]
    detector = Detector.from_pretrained(found)
    with Progress(lines="now and then") as progress:
        path = score_dataset(
            detector,
            data,
            folder / f"{split}.txt",
            workers=experiment.data_config.workers,
            progress=lambda done, total: progress.update(f"scoring {split}", done, total, unit="clips"),
        )
    metrics(path, asv_scores=asv_scores, json=folder / "metrics.json", report=folder, resamples=resamples)
