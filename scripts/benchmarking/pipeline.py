"""The training input pipeline alone, from FLAC and from the decoded cache, and an epoch with the training step."""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
from rich.table import Table

from aasist_jax.config import OptimConfig
from aasist_jax.data.cache import open_cache
from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from aasist_jax.data.pipeline import ClipSource, train_dataset
from aasist_jax.data.utterances import Utterance
from aasist_jax.training.optimizer import make_optimizer
from aasist_jax.training.step import init_state, make_train_step
from aasist_jax.weights.folder import Weights
from scripts.benchmarking.setting import Section, Setting
from scripts.benchmarking.tables import make_table

WARM_UP = 8
"""Batches before the clock starts: more than the read-ahead buffers hold."""

EPOCH_CLIPS = 25_380
"""Training clips of ASVspoof 2019 LA."""

WORKERS = 2
BATCHES = 40
REPEATS = 3
NO_CORPUS = "left out, it needs --corpus FOLDER"


@dataclass(frozen=True)
class Rates:
    """How fast batches came, repeat by repeat."""

    source: str
    workers: int
    first_batch_s: tuple[float, ...]
    clips_per_second: tuple[float, ...]


def measure_rates(
    sources: dict[str, ClipSource],
    *,
    workers: int,
    batch_size: int,
    samples: int,
    batches: int = BATCHES,
    repeats: int = REPEATS,
) -> list[Rates]:
    """Draw batches from every source by turns, without and with worker processes, with nobody but the clock waiting."""
    variants = [(name, source, count) for name, source in sources.items() for count in (0, workers)]
    runs: list[list[tuple[float, float]]] = [[] for _ in variants]
    for _ in range(repeats):
        for run, (_, source, count) in zip(runs, variants, strict=True):
            run.append(_draw(source, count, batch_size, samples, batches))
    return [
        Rates(name, count, *(tuple(column) for column in zip(*run, strict=True)))
        for run, (name, _, count) in zip(runs, variants, strict=True)
    ]


def _draw(source: ClipSource, workers: int, batch_size: int, samples: int, batches: int) -> tuple[float, float]:
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


def rates_table(rates: Sequence[Rates], title: str) -> Table:
    """Lay out medians and the spread."""
    rows = []
    for rate in rates:
        speeds = rate.clips_per_second
        figures = (statistics.median(speeds), min(speeds), max(speeds))
        first = f"{statistics.median(rate.first_batch_s):.2f}"
        rows.append((rate.source, str(rate.workers), first, *(f"{x:.0f}" for x in figures)))
    return make_table(title, ("source", "workers", "first batch (s)", "clips/s", "lowest", "highest"), rows)


def compare_sources(
    utterances: Sequence[Utterance], *, workers: int, batch_size: int, samples: int, batches: int, repeats: int
) -> tuple[list[Rates], Table]:
    """Build a cache in a scratch folder, and measure the rates from FLAC and from the cache."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        cached = ClipSource(utterances, open_cache(Path(folder), utterances))
        built = time.perf_counter() - started
        rates = measure_rates(
            {"FLAC": ClipSource(utterances), "cache": cached},
            workers=workers,
            batch_size=batch_size,
            samples=samples,
            batches=batches,
            repeats=repeats,
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    title = f"input pipeline: {len(utterances)} clips, batch {batch_size}, {cores} cores; cache built in {built:.1f} s"
    return rates, rates_table(rates, title)


WARM_UP_STEPS = 5
"""Steps before the clock of an epoch: the first compiles, and the next ones may begin before the memory of the last
one is free, and take their own."""


def measure_pipeline(setting: Setting) -> Section:
    """Measure the pipeline alone, then an epoch from the decoded cache, the training step and the loader together."""
    if setting.corpus is None:
        return Section(notes=[f"pipeline: {NO_CORPUS}"])
    utterances = read_asvspoof2019_la(setting.corpus, "train")
    samples = setting.weights.config.nb_samp
    rates, table = compare_sources(
        utterances,
        workers=WORKERS,
        batch_size=min(24, len(utterances)),
        samples=samples,
        batches=BATCHES,
        repeats=min(setting.rounds, REPEATS),
    )
    figures: list[dict[str, Any]] = [{"what": "rate"} | asdict(rate) for rate in rates]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source = ClipSource(utterances, open_cache(Path(folder), utterances))
        for size in setting.train_batches:
            epoch = run_epoch(setting.weights, source, size, setting.epoch_clips)
            figures.append({"what": "epoch"} | epoch)
            rows.append(
                (
                    str(size),
                    str(epoch["clips"]),
                    f"{epoch['seconds']:.2f}",
                    f"{epoch['clips_per_second']:.4g}",
                    f"{100 * epoch['data_wait_share']:.2f} %",
                    f"{epoch['epoch_s']:.0f}",
                    "extrapolated" if epoch["extrapolated"] else "measured",
                )
            )
    columns = ("batch", "clips run", "s", "clips/s", "waiting for data", f"{EPOCH_CLIPS} clips (s)", "which is")
    title = f"training from the decoded cache, loader included: {setting.weights.model_id}"
    return Section(figures, [table, make_table(title, columns, rows, texts=0)])


def run_epoch(weights: Weights, source: ClipSource, batch_size: int, clips: int) -> dict[str, Any]:
    """Train as published, with dropout and masked filters, on at least `clips` clips; warm-up apart."""
    optimizer = make_optimizer(OptimConfig(), 10**6, weights.variables["params"], lambda path: "/bn1/" in path)
    function = make_train_step(build_network(weights.config), optimizer, freq_aug=True)
    step = jax.jit(function, donate_argnums=0)
    state = init_state(jax.tree.map(jax.numpy.array, weights.variables), optimizer)
    iterator = iter(train_dataset(source, samples=weights.config.nb_samp, batch_size=batch_size, seed=0, workers=0))
    waited = 0.0

    def staged() -> Any:
        nonlocal waited
        began = time.perf_counter()
        batch = next(iterator)
        waited += time.perf_counter() - began
        return jax.device_put({"wave": batch["wave"], "label": batch["label"]})

    steps = max(-(-clips // batch_size), 1)
    try:
        batch = staged()
        for _ in range(WARM_UP_STEPS):
            state, metrics = step(state, batch)
            batch = staged()
            float(metrics["loss"])
        jax.block_until_ready(state)
        waited, began = 0.0, time.perf_counter()
        for _ in range(steps):
            state, metrics = step(state, batch)
            # The next batch is fetched and sent while the step runs, as in training.
            batch = staged()
            float(metrics["loss"])
        jax.block_until_ready(state)
        seconds = time.perf_counter() - began
    finally:
        iterator.close()
    done = steps * batch_size
    return {
        "batch": batch_size,
        "clips": done,
        "seconds": seconds,
        "clips_per_second": done / seconds,
        "data_wait_share": waited / seconds,
        "epoch_s": seconds * EPOCH_CLIPS / done,
        "extrapolated": done < EPOCH_CLIPS,
    }
