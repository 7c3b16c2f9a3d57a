"""Training as it runs: the input pipeline alone, an epoch, several devices, and whether two runs give the same bits."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from aasist_jax.data.cache import open_cache
from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from aasist_jax.data.pipeline import ClipSource, train_dataset
from aasist_jax.models.family import Window
from benchmarks.inputs import corpus_of, write_corpus, write_random_weights
from benchmarks.options import Options
from benchmarks.processes import REPOSITORY, child
from benchmarks.rounds import BenchmarkError, Table, spread

EPOCH_CLIPS = 25_380
"""Training clips of ASVspoof 2019 LA."""

BATCH, SAMPLES, BATCHES, WORKERS = 24, 64_600, 40, 2
WARM_UP = 8
"""Batches before the clock starts: more than the read-ahead buffers hold."""

STEPS, SAME_LOSS = 4, 1e-4
"""Steps on several devices, and the largest relative difference of a loss."""


def pipeline(options: Options) -> list[Table]:
    """Draw batches from FLAC files and from the decoded cache by turns, only the clock waiting; then train."""
    utterances = read_asvspoof2019_la(corpus_of(options), "train")
    sources = {"FLAC": ClipSource(utterances)}
    sources["cache"] = ClipSource(utterances, open_cache(options.scratch / "cache", utterances))
    variants = [(name, workers) for name in sources for workers in (0, WORKERS)]
    runs = [[_draw(sources[name], workers) for name, workers in variants] for _ in range(min(options.rounds, 3))]
    rates = []
    for variant, found in zip(variants, zip(*runs, strict=True), strict=True):
        first, speed = zip(*found, strict=True)
        rates.append((*variant, spread(first)[0], *spread(speed)))
    epochs = []
    for size in options.steps:
        log = (train(options, f"epoch{size}", size, options.clips) / "log.jsonl").read_text().splitlines()
        # What the last step's line says of the last twenty steps.
        last = [line for line in map(json.loads, log) if "loss" in line][-1]
        epochs.append((size, speed := last["clips_per_second"], last["data_wait_share"], EPOCH_CLIPS / speed))
    columns = "source | workers | first batch (s):.2f | clips/s:.0f | lowest:.0f | highest:.0f"
    of_epoch = f"batch | clips/s:.4g | waiting for data:.2% | {EPOCH_CLIPS} clips, extrapolated (s):.0f"
    return [
        Table(f"input pipeline, {len(utterances)} clips, batch {BATCH}", columns, rates),
        Table("an epoch on noise from the decoded cache, loader included", of_epoch, epochs),
    ]


def _draw(source: ClipSource, workers: int) -> tuple[float, float]:
    """Seconds to the first batch, and clips per second after the warm-up."""
    began = time.perf_counter()
    iterator = iter(train_dataset(source, window=Window(SAMPLES, SAMPLES), batch_size=BATCH, seed=0, workers=workers))
    times = []
    for _ in range(1 + WARM_UP + BATCHES):
        next(iterator)
        times.append(time.perf_counter())
    iterator.close()
    return times[0] - began, BATCHES * BATCH / (times[-1] - times[WARM_UP])


def train(options: Options, name: str, batch: int, clips: int) -> Path:
    """Train for an epoch, at least three steps, on a corpus of noise by `scripts/train.py`; returns the run folder."""
    folder, count = options.scratch / name, max(clips, 3 * batch)
    model = json.loads(Path(options.weights, "config.json").read_text())["model_config"]
    config: dict[str, Any] = {"model_config": model, "optim_config": {}, "batch_size": batch, "num_epochs": 1}
    config["database_path"] = str(write_corpus(folder / "LA", {"train": count, "dev": 8}))
    config["data_config"] = {"cache": str(folder / "cache")}
    config["train_config"] = {"init": options.weights, "log_steps": 1}
    (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "scripts/train.py", "--config", f"{folder}/config.json", "--output", f"{folder}/run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    if done.returncode:
        raise BenchmarkError(f"scripts/train.py: {done.stderr.strip().splitlines()[-1]}")
    return folder / "run"


def devices(options: Options) -> list[Table]:
    """Take steps of one batch on several devices; the losses must agree.

    On a CPU the devices are virtual, and the model a small one: they share the cores, so it gets no faster.
    """
    size, rows, first = max(options.steps), [], np.empty(0)
    weights = options.weights if options.gpu else str(write_random_weights(options.scratch / "small"))
    for count in options.devices:
        if size % count:
            raise BenchmarkError(f"--devices: {size} clips cannot be shared evenly by {count} devices")
        env = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(count)))}
        env |= {} if options.gpu else {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(count)}
        program = "jax_programs.py:training_step_on_all_devices"
        with child(f"{count} devices", program, env=env, weights=weights, batch=size) as process:
            there, losses, seconds = np.array([process.call() for _ in range(STEPS)]).T
        first = first if first.size else losses
        difference = float(np.abs(losses / first - 1).max())
        if there[0] != count or not difference <= SAME_LOSS:
            found = f"{there[0]:g} devices, losses off by {difference:.1e} relative to those of {options.devices[0]}"
            raise BenchmarkError(f"{count} devices: {found}, where {SAME_LOSS:g} is allowed")
        rows.append((count, losses[-1], difference, 1e3 * seconds[1:].min(), size / seconds[1:].min()))
    columns = f"{'' if options.gpu else 'virtual '}devices | loss after {STEPS} steps:.6f | off by, relative:.0e"
    return [Table(f"training step of {size} clips", f"{columns} | quickest step (ms):.3g | clips/s:.4g", rows)]


def determinism(options: Options) -> list[Table]:
    """Score twice and train twice, each time in a fresh process, and compare the bits."""
    logits, models, size = [], [], options.steps[0]
    for i in range(2):
        own: dict[str, Any] = {"weights": options.weights, "batch": options.batch[-1]}
        with child("inference", "jax_programs.py:inference", **own) as process:
            logits.append(process.call().tobytes())
        models.append((train(options, f"determinism{i}", size, 1) / "weights" / "model.safetensors").read_bytes())
    rows = [(f"logits of {options.batch[-1]} clips", logits[0] == logits[1])]
    rows += [(f"weights after 3 training steps of {size} clips", models[0] == models[1])]
    return [Table("determinism: two runs", "what | same bits", rows)]
