"""What only a fresh process shows: the first score from an empty cache and after, peak memory, compile time."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

import soundfile
import torch

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.detection.detector import Detector
from aasist_jax.export.onnx_file import export_onnx
from scripts.benchmarking.child import REPOSITORY, run_child
from scripts.benchmarking.contenders import adam_options, as_torch_model
from scripts.benchmarking.inputs import noise
from scripts.benchmarking.setting import Section, Setting
from scripts.benchmarking.tables import make_table
from scripts.benchmarking.turns import BenchmarkError


def measure_starts(setting: Setting) -> Section:
    """Measure starts, compile time and peak memory, one process after the other."""
    parts = [_starts(setting), _compiling(setting), _memory(setting)]
    return Section([row for part in parts for row in part.figures], [table for part in parts for table in part.tables])


def _starts(setting: Setting) -> Section:
    """Time `aasist-jax score` on one file: nothing compiled yet, and again."""
    times: dict[str, list[float]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as scratch:
        recording = Path(scratch, "one.flac")
        soundfile.write(recording, noise(1, setting.weights.config.nb_samp)[0], SAMPLE_RATE)
        for i in range(setting.starts):
            cache = Path(scratch, f"cache{i}")
            cache.mkdir()
            for kind in times:
                times[kind].append(_score(recording, setting.folder, cache))
    rows = [
        (kind, *(f"{x:.2f}" for x in (statistics.median(found), min(found), max(found))))
        for kind, found in times.items()
    ]
    title = f"`aasist-jax score` on one file, start to end: medians of {setting.starts}"
    table = make_table(title, ("cache of compiled programs", "s", "lowest", "highest"), rows)
    return Section([{"what": "start", "cache": kind, "seconds": found} for kind, found in times.items()], [table])


def _score(recording: Path, weights: Path, cache: Path) -> float:
    command = [
        sys.executable,
        "-m",
        "aasist_jax.commands.app",
        "score",
        str(recording),
        "--weights",
        str(weights.resolve()),
    ]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache / "jax"), "XDG_CACHE_HOME": str(cache)}
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise BenchmarkError(f"starts: aasist-jax score failed: {done.stderr.strip()}")
    return seconds


def _compiling(setting: Setting) -> Section:
    """Time tracing and compiling, with no cache of compiled programs."""
    figures: list[dict[str, Any]] = []
    for what, task, sizes in (
        ("inference", "compile_inference", setting.batches),
        ("training step", "compile_training", setting.train_batches),
    ):
        for size in sizes:
            options = {"weights": str(setting.folder), "batch": size}
            found = run_child(task, options, {"JAX_ENABLE_COMPILATION_CACHE": "false"})
            figures.append({"what": "compile", "program": what, "batch": size} | found)
    rows = [(f["program"], str(f["batch"]), f"{f['lower_s']:.2f}", f"{f['compile_s']:.2f}") for f in figures]
    columns = ("program", "batch", "trace and lower (s)", "compile (s)")
    return Section(figures, [make_table("compile time, no cache, a fresh process each", columns, rows)])


def _memory(setting: Setting) -> Section:
    """Measure the peak of a process that does one thing twice; ours with and without compiling."""
    figures: list[dict[str, Any]] = []

    def measure(contender: str, what: str, task: str, size: int, environment: dict[str, str], **options: Any) -> None:
        found = run_child(task, {"batch": size, "threads": setting.threads} | options, environment)
        figures.append({"what": "memory", "contender": contender, "work": what, "batch": size} | found)

    with tempfile.TemporaryDirectory() as scratch:
        onnx_file, torch_file = Path(scratch, "model.onnx"), Path(scratch, "model.pt")
        export_onnx(Detector(setting.weights), onnx_file)
        model = as_torch_model(setting.weights)
        torch.save({"config": model.config, "state": model.state}, torch_file)
        of_torch = {"model": str(torch_file), "adam": astuple(adam_options())}
        of_onnx = {"model": str(onnx_file), "samples": setting.weights.config.nb_samp}
        ours = {"weights": str(setting.folder.resolve())}
        cache = {"JAX_COMPILATION_CACHE_DIR": str(Path(scratch, "jax"))}
        for size in setting.batches:
            measure("PyTorch eager", "inference", "torch_inference", size, {}, **of_torch)
            measure("ONNX Runtime (our export)", "inference", "onnx_inference", size, {}, **of_onnx)
            measure("aasist_jax, compiling", "inference", "ours_inference", size, cache, **ours)
            measure("aasist_jax", "inference", "ours_inference", size, cache, **ours)
        for size in setting.train_batches:
            measure("PyTorch eager", "training step", "torch_training", size, {}, **of_torch)
            measure("aasist_jax, compiling", "training step", "ours_training", size, cache, **ours)
            measure("aasist_jax", "training step", "ours_training", size, cache, **ours)
    rows = [
        (f["work"], str(f["batch"]), f["contender"], f"{f['peak_mb']:.0f}", f"{f['peak_mb'] - f['before_mb']:.0f}")
        for f in figures
    ]
    columns = ("", "batch", "contender", "peak (MB)", "above the loaded process (MB)")
    return Section(figures, [make_table("peak memory of the host, a fresh process each", columns, rows, texts=3)])
