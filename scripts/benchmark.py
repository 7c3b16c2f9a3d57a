"""The benchmark: `python scripts/benchmark.py --weights AASIST-L --corpus CORPUS --out results/benchmark`.

Every section of it, or those that `--only` names: `inference` and `training` against PyTorch and ONNX Runtime; the
input `pipeline` and an epoch; `end-to-end` from FLAC files; cold and warm `starts`, compile time and memory; how the
cost grows (`growth-batch`, `growth-length`, `growth-devices`); the counted `work` and the `limits` of the
machine; and the `choices`, every optimisation beside what it replaced.

Contenders get the same inputs and the same number of threads, must give the same results before anything is timed, and
take turns, so that a slow minute of the machine falls on all alike; what counts is the ratio within a round, of which
the median and the extremes are shown. The first call is quicker where an earlier run left compiled programs.
Needs the extras `torch` and `onnx`.
"""

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aasist_jax.commands.app import run
from aasist_jax.errors import AasistError
from aasist_jax.runtime.start_up import prepare_to_compute
from aasist_jax.weights.published import find_weights

SECTIONS = {
    "inference": ("contenders", "measure_inference"),
    "training": ("contenders", "measure_training"),
    "pipeline": ("pipeline", "measure_pipeline"),
    "end-to-end": ("end_to_end", "measure_end_to_end"),
    "starts": ("starts", "measure_starts"),
    "growth-batch": ("growth", "measure_batches"),
    "growth-length": ("growth", "measure_lengths"),
    "growth-devices": ("growth", "measure_devices"),
    "work": ("work", "count_work"),
    "limits": ("ceilings", "measure_limits"),
    "choices": ("choices", "measure_choices"),
}
"""Module and function of every section. Imported when its turn comes: the loader's worker processes import this file
anew, and need neither PyTorch nor the model."""

COMPARED = ("inference", "training")
"""Sections whose figures are drawn."""


def main(
    weights: Annotated[str, typer.Option(help="A weights folder, or the name of fetched weights.")] = "AASIST-L",
    only: Annotated[
        list[str] | None, typer.Option(help=f"Sections: {', '.join(SECTIONS)}; repeatable; default: all.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Batch sizes of inference; repeatable; default: 1, 8, 24.")
    ] = None,
    train_batch: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Batch sizes of the training step; default: 8, on a GPU 24, 48, 96."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each contender takes.")] = 7,
    threads: Annotated[
        int, typer.Option(min=1, help="Of PyTorch, ONNX Runtime and JAX (the process is kept to as many cores).")
    ] = 2,
    compiled: Annotated[bool, typer.Option(help="Also torch.compile (needs a C++ compiler).")] = True,
    corpus: Annotated[
        Path | None, typer.Option(help="In the ASVspoof 2019 LA layout; for pipeline and end-to-end.")
    ] = None,
    block: Annotated[int, typer.Option(min=1, help="end-to-end: recordings a turn.")] = 64,
    epoch_clips: Annotated[int, typer.Option(min=1, help="pipeline: clips of an epoch that are really run.")] = 80,
    length: Annotated[
        list[float] | None, typer.Option(help="growth-length: seconds; repeatable; default: 5, 60, 600, 3600.")
    ] = None,
    device: Annotated[
        list[int] | None, typer.Option(min=1, help="growth-devices: virtual devices; default: 1, 2, 4.")
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help="starts: cold and warm starts.")] = 3,
    array_mib: Annotated[int, typer.Option(min=1, help="limits: the array that measures the memory.")] = 1024,
    out: Annotated[
        Path | None, typer.Option(help="Folder for benchmark.json, benchmark.txt and benchmark.png.")
    ] = None,
) -> None:
    """Measure, and print tables."""
    names = only or list(SECTIONS)
    if unknown := [name for name in names if name not in SECTIONS]:
        raise AasistError(f"--only: no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    if corpus is not None and not corpus.is_dir():
        raise AasistError(f"--corpus: {corpus} is no folder")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    folder = find_weights(weights)
    _make_even(threads)

    from rich.console import Console

    from aasist_jax.weights.folder import load_weights
    from scripts.benchmarking.contenders import on_gpu
    from scripts.benchmarking.plot import draw
    from scripts.benchmarking.setting import Setting
    from scripts.benchmarking.tables import WIDTH, as_text

    released, gpu = load_weights(folder), on_gpu()
    setting = Setting(
        folder=folder,
        weights=released,
        threads=threads,
        rounds=rounds,
        batches=tuple(dict.fromkeys(batch or (1, 8, 24))),
        train_batches=tuple(dict.fromkeys(train_batch or ((24, 48, 96) if gpu else (8,)))),
        compiled=compiled,
        gpu=gpu,
        corpus=corpus,
        block=block,
        epoch_clips=epoch_clips,
        lengths=tuple(length or (5, 60, 600, 3600)),
        devices=tuple(device or (1, 2, 4)),
        starts=starts,
        array_mib=array_mib,
    )
    report: dict[str, Any] = {"model": released.model_id, "machine": describe_machine(threads)}
    report |= {"command": sys.argv[1:], "notes": [], "sections": {}}
    text = "".join(f"{key}: {value}\n" for key, value in report["machine"].items())
    console = Console(width=WIDTH)
    console.print(text, markup=False, highlight=False)
    for name in names:
        measure: Callable[[Setting], Any] = getattr(
            import_module(f"scripts.benchmarking.{SECTIONS[name][0]}"), SECTIONS[name][1]
        )
        section = measure(setting)
        report["sections"][name] = section.figures
        report["notes"] += section.notes
        text += "\n" + as_text(section.tables, section.notes)
        for part in [*section.tables, *section.notes]:
            console.print(part)
        if out is not None:
            # After every section, so that a run that is stopped leaves what it has.
            (out / "benchmark.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            (out / "benchmark.txt").write_text(text, encoding="utf-8")
    compared = [row for name in COMPARED for row in report["sections"].get(name, [])]
    if out is not None and compared:
        chip = report["machine"]["device" if gpu else "cpu"]
        draw(compared, out / "benchmark.png", f"{released.model_id}: {chip}, {threads} threads, {rounds} rounds")


def _make_even(threads: int) -> None:
    """Give every contender the same cores, and the memory that suits it. Before any of them is imported."""
    if hasattr(os, "sched_setaffinity"):
        # XLA sizes its pool by the cores that the process may use.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    # PyTorch takes its large buffers as huge pages: half of its time goes into page faults otherwise.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # By default JAX takes three quarters of a GPU's memory, and PyTorch would find none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    prepare_to_compute()
    try:
        import_module("onnxruntime")
        torch = import_module("torch")
    except ImportError as error:
        raise AasistError(f"{error.name} is not installed; run `pip install -e '.[torch,onnx]'`") from None
    torch.set_num_threads(threads)


def describe_machine(threads: int) -> dict[str, Any]:
    """Name what the figures depend on."""
    import jax

    packages = {name: version(name) for name in ("jax", "jaxlib", "torch", "onnxruntime", "numpy")}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cores used": cores,
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        **packages,
        "device": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
    }


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


if __name__ == "__main__":
    run(main)
