"""Score a split of a data set and report: `python scripts/evaluate.py --config C --weights DIR --split eval`.

Restartable: rows already written are kept. Writes OUTPUT/SPLIT.txt, and report.html, report.md and metrics.json.
"""

from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.cli import prepare_for_scoring, run


def main(
    config: Annotated[Path, typer.Option(help="Configuration that names the data set.")],
    weights: Annotated[str, typer.Option(help="A weights folder, or the name of weights got with fetch-weights.")],
    split: Annotated[str, typer.Option(help="train, dev or eval; with a CSV, any split it names.")] = "eval",
    output: Annotated[Path | None, typer.Option(help="Folder (default: results/WEIGHTS-SPLIT).")] = None,
    asv_scores: Annotated[Path | None, typer.Option(help="The organisers' ASV scores, for t-DCF and t-EER.")] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap; 0 for no intervals.")] = 1000,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a key of the configuration.")] = None,
) -> None:
    """Score a split and report every metric, with intervals and per-attack tables."""
    from aasist_jax.commands.score_files import metrics
    from aasist_jax.config import load_config
    from aasist_jax.data.splits import open_splits
    from aasist_jax.detection.dataset import score_dataset
    from aasist_jax.detection.detector import Detector
    from aasist_jax.training.reporting import Reporter
    from aasist_jax.weights.published import find_weights

    experiment = load_config(config, set_ or [])
    prepare_for_scoring()
    folder = output or Path("results", f"{Path(weights).name}-{split}")
    folder.mkdir(parents=True, exist_ok=True)
    data = open_splits(experiment, [split], folder)[split]
    detector = Detector.from_pretrained(find_weights(weights))
    with Reporter() as reporter:
        path = score_dataset(
            detector,
            data,
            folder / f"{split}.txt",
            workers=experiment.data_config.workers,
            progress=lambda done, total: reporter.clips(f"scoring {split}", done, total),
        )
    metrics(path, asv_scores=asv_scores, json=folder / "metrics.json", report=folder, resamples=resamples)


if __name__ == "__main__":
    run(main)
