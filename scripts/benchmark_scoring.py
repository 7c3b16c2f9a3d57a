"""Measure `aasist-jax score` on many short files against the model alone: `python scripts/benchmark_scoring.py FOLDER`.

Clips of 1 to 4 s are cut from the recordings of FOLDER. The command is timed with one clip and an empty cache of
compiled programs, with one clip again, and with all clips. The model alone runs in this process, on the same windows,
ready in memory. All clips and the model alone take turns, and medians are shown, so that a slow minute of the machine
falls on both.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from rich.console import Console
from rich.table import Table

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import load_audio
from aasist_jax.commands.app import run
from aasist_jax.detection.detector import BATCH_SIZE, Detector
from aasist_jax.detection.inputs import find_recordings
from aasist_jax.runtime.start_up import prepare_to_compute
from aasist_jax.weights.published import find_weights


def cut_clips(recordings: list[str], folder: Path, count: int) -> None:
    """Write `count` FLAC clips of 1 to 4 s, each from a recording and a place drawn at random."""
    rng = np.random.default_rng(0)
    for index in range(count):
        wave = load_audio(recordings[rng.integers(len(recordings))])
        length = min(int(rng.integers(1, 4, endpoint=True)) * SAMPLE_RATE, wave.size)
        start = int(rng.integers(wave.size - length, endpoint=True))
        soundfile.write(folder / f"{index:06}.flac", wave[start : start + length], SAMPLE_RATE)


def run_command(inputs: Path, weights: Path, cache: Path) -> tuple[float, float, list[dict[str, object]]]:
    """Seconds from the start of a process to its first row and to its end, and the rows."""
    command = [sys.executable, "-m", "aasist_jax.commands.app", "score", str(inputs), "--weights", str(weights)]
    started = time.perf_counter()
    with subprocess.Popen(
        [*command, "--format", "jsonl"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"},
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        first = time.perf_counter() - started
        lines += process.stdout.readlines()
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"the command failed with {process.returncode}")
    return first, seconds, [json.loads(line) for line in lines]


def run_model(detector: Detector, windows: np.ndarray, batch_size: int) -> float:
    """Seconds that the model takes for windows in memory."""
    started = time.perf_counter()
    for start in range(0, len(windows), batch_size):
        part = windows[start : start + batch_size]
        detector.batch_logits(np.pad(part, ((0, batch_size - len(part)), (0, 0))))
    return time.perf_counter() - started


def main(
    folder: Annotated[Path, typer.Argument(help="Recordings to cut clips from, in this folder and below it.")],
    weights: Annotated[str, typer.Option(help="A weights folder, or the name of fetched weights.")] = "AASIST-L",
    clips: Annotated[int, typer.Option(min=1, help="How many clips.")] = 1000,
    repeats: Annotated[int, typer.Option(min=1, help="Turns.")] = 3,
    batch_sizes: Annotated[
        list[int] | None, typer.Option("--batch-size", help="Of the model alone; can be repeated.")
    ] = None,
) -> None:
    """Print the times, and end-to-end time as a multiple of model-only time."""
    sizes = batch_sizes or [BATCH_SIZE, 24]
    recordings = [recording.name for recording in find_recordings([folder], recursive=True) if not recording.error]
    if not recordings:
        raise SystemExit(f"{folder}: no recordings there")
    weights_folder = find_weights(weights)
    prepare_to_compute()
    detector = Detector.from_pretrained(weights_folder)
    with tempfile.TemporaryDirectory() as scratch:
        many, cache = Path(scratch, "clips"), Path(scratch, "cache")
        many.mkdir()
        cut_clips(recordings, many, clips)
        one = many / "000000.flac"
        cold = run_command(one, weights_folder, cache)[0]
        warm = [run_command(one, weights_folder, cache)[0] for _ in range(repeats)]
        windows = np.concatenate([detector.prepare(path).windows for path in sorted(many.iterdir())])
        for size in sizes:
            run_model(detector, windows[:1], size)
        # The program for full batches is compiled here.
        few = Path(scratch, "few")
        few.mkdir()
        for path in sorted(many.iterdir())[:BATCH_SIZE]:
            (few / path.name).hardlink_to(path)
        run_command(few, weights_folder, cache)
        ends: list[float] = []
        alone: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(repeats):
            _, seconds, rows = run_command(many, weights_folder, cache)
            ends.append(seconds)
            assert len(rows) == clips
            for size in sizes:
                alone[size].append(run_model(detector, windows, size))
    print(f"{clips} clips, {os.cpu_count()} cores, {detector.weights.model_id}")
    print(f"start to first score: empty cache {cold:.2f} s; second start {statistics.median(warm):.2f} s")
    end = statistics.median(ends)
    print(f"all clips, start to end: {end:.2f} s, {clips / end:.1f} clips/s (batches of {BATCH_SIZE})")
    table = Table()
    for column in ("model alone, batch", "s", "clips/s", "end to end / model alone", "lowest", "highest"):
        table.add_column(column, justify="right")
    for size, times in alone.items():
        ratios = [whole / model for whole, model in zip(ends, times, strict=True)]
        median = statistics.median(times)
        cells = (f"{x:.3f}" for x in (statistics.median(ratios), min(ratios), max(ratios)))
        table.add_row(str(size), f"{median:.2f}", f"{clips / median:.1f}", *cells)
    Console().print(table)


if __name__ == "__main__":
    run(main)
