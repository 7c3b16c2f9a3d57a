"""The benchmarks: `python -m benchmarks SECTION... [options]`; `python -m benchmarks --help` lists both.

Implementations that are compared get the same inputs and the same number of threads, must give the same results before
anything is timed, and take turns (`rounds.py`). Needs the extras `torch` and `onnx`.
"""

import dataclasses
import json
import os
import platform
import re
import sys
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from aasist_jax.errors import AasistError
from benchmarks.options import Options, parse

SECTIONS = {
    "inference": ("comparison", "time of inference, compared with PyTorch and ONNX Runtime"),
    "training": ("comparison", "time of a training step, compared with PyTorch"),
    "revisions": ("comparison", "this checkout of the project, compared with another one (--base)"),
    "layers": ("comparison", "floating-point operations (FLOPs) of every layer"),
    "ceilings": ("comparison", "the machine's peak speed, and the share of it that the model reaches"),
    "operations": ("operations", "each C++ kernel, compared with the XLA operations that it replaces"),
    "scoring": ("end_to_end", "time to score FLAC files from Python and by the command, compared with the model alone"),
    "timeline": ("end_to_end", "time and memory of the timeline, and of live scoring"),
    "starts": ("end_to_end", "start-up time of the command, with and without the cache of compiled programs"),
    "pipeline": ("end_to_end", "time of the input pipeline alone, and of an epoch of training"),
    "augmentation": ("augmentations", "time of every kind of augmentation on one core, and of whole chains"),
    "epochs": ("augmentations", "time of an epoch of training with augmentation, compared with one without"),
    "devices": ("end_to_end", "time of a training step on several devices"),
    "determinism": ("end_to_end", "whether two training runs give the same bits"),
    "encoders": ("encoders", "time of Whisper's encoder, compared with that of the package transformers"),
    "resynthesis": ("resynthesis", "time of copies by each vocoder on one core, and their distance to the recordings"),
    "speech": ("speech", "the detector of speech: what it keeps and drops, its time; compared with a gate by levels"),
    "verdicts": ("verdicts", "verdicts on clips under every condition, and on sound without speech"),
    "calibration": ("calibrations", "how well a calibration holds for speakers it was not fitted on"),
}
"""Module and help of every section; its function has the section's name. Imported when its turn comes: the loader's
worker processes import this file anew, and need neither PyTorch nor the model."""


def main(arguments: list[str], scratch: Path) -> None:
    """Measure the sections, print their tables, and write them to `--output`."""
    names, options = parse(arguments, {name: help for name, (_, help) in SECTIONS.items()})
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    options = _prepare(options, scratch)
    report: dict[str, Any] = {"machine": describe_machine(options), "command": arguments, "sections": {}}
    text = " | ".join(f"{key} {value}" for key, value in report["machine"].items()) + "\n"
    print(text, flush=True)
    for name in names:
        tables = getattr(import_module(f"benchmarks.{SECTIONS[name][0]}"), name)(options)
        report["sections"][name] = [{"title": table.title, "rows": table.records()} for table in tables]
        added = "\n".join(table.markdown() for table in tables)
        print(added, flush=True)
        text += f"\n{added}"
        if options.output is not None:  # after every section, so that a run that is stopped leaves what it has
            (options.output / "benchmark.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            (options.output / "benchmark.md").write_text(text, encoding="utf-8")


def _prepare(options: Options, scratch: Path) -> Options:
    """Give every implementation the same cores and the memory that suits it, before any of them is imported."""
    if hasattr(os, "sched_setaffinity"):
        # XLA sizes its pool of threads by the cores that the process may use.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    # PyTorch takes its large buffers as huge pages: half of its time goes into page faults otherwise.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # By default JAX takes three quarters of a GPU's memory, and PyTorch would find none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(user_cache_path("aasist_jax") / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    import jax

    from aasist_jax.runtime.start_up import prepare_to_compute
    from aasist_jax.weights.published import find_weights
    from benchmarks.inputs import write_random_weights

    prepare_to_compute()
    if options.config is not None or options.weights == "small":
        weights = write_random_weights(scratch / "small", options.config or "quickstart")
    else:
        weights = Path(find_weights(options.weights))
    gpu = jax.default_backend() == "gpu"
    return dataclasses.replace(options, weights=str(weights.resolve()), scratch=scratch, gpu=gpu)


def describe_machine(options: Options) -> dict[str, Any]:
    """Name what the results depend on."""
    import jax

    info = Path("/proc/cpuinfo")
    cpu = re.search(r"^model name\s*: (.*)$", info.read_text() if info.exists() else "", re.MULTILINE)
    found = {"cpu": cpu[1] if cpu else platform.machine(), "cores": os.cpu_count(), "threads": options.threads}
    found |= {"rounds": options.rounds, "weights": options.config or Path(options.weights).name}
    found |= {"system": platform.platform(), "python": platform.python_version()}
    found |= {name: version(name) for name in ("jax", "jaxlib", "torch", "onnxruntime", "numpy")}
    return found | {"device": f"{len(jax.devices())} x {jax.devices()[0].device_kind}"}


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory() as folder:
            main(sys.argv[1:], Path(folder))
    except ImportError as fault:
        sys.exit(f"error: {fault.name} is not installed; run `pip install -e '.[torch,onnx]'`")
    except OSError as fault:
        sys.exit(f"error: {fault.filename}: {fault.strerror}")
    except AasistError as fault:
        sys.exit(f"error: {fault}")
