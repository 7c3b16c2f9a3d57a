"""Measure the training input pipeline alone: `python scripts/benchmark_input.py --database FOLDER`.

Clips per second after a warm-up, with nobody but the clock consuming them, from FLAC and from the decoded cache, with
and without worker processes. The variants take turns, and the table shows medians, so that a slow minute of the
machine falls on all alike.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from aasist_jax.data.cache import open_cache
from aasist_jax.data.pipeline import ClipSource, train_dataset
from aasist_jax.data.protocols import read_asvspoof2019_la

WARM_UP = 8
"""Batches before the clock starts: more than the read-ahead buffers hold."""


def measure(source: ClipSource, *, workers: int, batch_size: int, samples: int, batches: int) -> tuple[float, float]:
    """Seconds to the first batch, and clips per second over `batches` batches after the warm-up."""
    started = time.perf_counter()
    iterator = iter(train_dataset(source, samples=samples, batch_size=batch_size, seed=0, workers=workers))
    try:
        next(iterator)
        first = time.perf_counter() - started
        for _ in range(WARM_UP):
            next(iterator)
        started = time.perf_counter()
        for _ in range(batches):
            next(iterator)
        return first, batches * batch_size / (time.perf_counter() - started)
    finally:
        iterator.close()


def main(
    database: Annotated[Path, typer.Option(help="Folder in the ASVspoof 2019 LA layout.")],
    split: Annotated[str, typer.Option(help="train, dev or eval.")] = "train",
    workers: Annotated[int, typer.Option(help="Worker processes to compare with none.")] = 2,
    batch_size: int = 24,
    samples: int = 64_600,
    batches: Annotated[int, typer.Option(help="Batches timed each time.")] = 40,
    repeats: int = 3,
) -> None:
    """Print clips per second of the input pipeline."""
    utterances = read_asvspoof2019_la(database, split)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        cached = ClipSource(utterances, open_cache(Path(folder), utterances))
        built = time.perf_counter() - started
        variants = {
            (name, count): (source, count)
            for name, source in (("FLAC", ClipSource(utterances)), ("cache", cached))
            for count in (0, workers)
        }
        runs: dict[tuple[str, int], list[tuple[float, float]]] = {key: [] for key in variants}
        for _ in range(repeats):
            for key, (source, count) in variants.items():
                runs[key].append(
                    measure(source, workers=count, batch_size=batch_size, samples=samples, batches=batches)
                )
    table = Table(
        title=f"{len(utterances)} clips, batch {batch_size}, {os.cpu_count()} cores; cache built in {built:.1f} s"
    )
    for column in ("source", "workers", "first batch (s)", "clips/s", "lowest", "highest"):
        table.add_column(column, justify="right")
    for (name, count), figures in runs.items():
        firsts, rates = zip(*figures, strict=True)
        cells = (statistics.median(firsts), statistics.median(rates), min(rates), max(rates))
        table.add_row(name, str(count), f"{cells[0]:.2f}", *(f"{rate:.0f}" for rate in cells[1:]))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
