"""Measure the training input pipeline alone: `python scripts/benchmark_input.py --database FOLDER`.

Clips per second after a warm-up, with nobody but the clock consuming them, from FLAC and from the decoded cache, with
and without worker processes. The variants take turns, and the table shows medians, so that a slow minute of the
machine falls on all alike. `scripts/benchmark.py --only pipeline` measures the same, with an epoch of training.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aasist_jax.commands.app import run
from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from scripts.benchmarking.pipeline import BATCHES, REPEATS, WORKERS, compare_sources


def main(
    database: Annotated[Path, typer.Option(help="Folder in the ASVspoof 2019 LA layout.")],
    split: Annotated[str, typer.Option(help="train, dev or eval.")] = "train",
    workers: Annotated[int, typer.Option(help="Worker processes to compare with none.")] = WORKERS,
    batch_size: int = 24,
    samples: int = 64_600,
    batches: Annotated[int, typer.Option(help="Batches timed each time.")] = BATCHES,
    repeats: int = REPEATS,
) -> None:
    """Print clips per second of the input pipeline."""
    utterances = read_asvspoof2019_la(database, split)
    _, table = compare_sources(
        utterances, workers=workers, batch_size=batch_size, samples=samples, batches=batches, repeats=repeats
    )
    Console().print(table)


if __name__ == "__main__":
    run(main)
