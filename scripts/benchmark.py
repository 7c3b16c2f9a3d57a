"""Time the model against PyTorch and ONNX Runtime, turn by turn: `python scripts/benchmark.py --weights AASIST-L`.

Inference and the training step on the same inputs with the same number of threads, after a check that all give the same
results. The contenders take turns, so that a slow minute of the machine falls on all alike; what counts is the ratio
to eager PyTorch within a round, of which the median and the extremes are shown. ONNX Runtime runs the model that
`aasist-jax export` writes. The first call is quicker where an earlier run left compiled programs.
Needs the extras `torch` and `onnx`.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from aasist_jax.cli import prepare_for_scoring, run
from aasist_jax.config import OptimConfig
from aasist_jax.conversion.names import to_torch
from aasist_jax.detection.detector import Detector
from aasist_jax.export.onnx_file import export_onnx
from aasist_jax.models.aasist import AASIST, DropoutRates
from aasist_jax.pretrained import find_weights
from aasist_jax.training.optimizer import make_optimizer
from aasist_jax.training.step import init_state, make_train_step
from aasist_jax.weights import Weights, load_weights
from tests.reference.torch_aasist import TorchAASIST

EAGER = "PyTorch eager"
SAME_LOGITS = 1e-4
"""Largest difference between contenders' float32 logits before anything is timed."""

SAME_LOSS = 1e-4
Contender = Callable[[], np.ndarray]


def main(
    weights: Annotated[str, typer.Option(help="A weights folder, or the name of fetched weights.")] = "AASIST-L",
    batch: Annotated[list[int] | None, typer.Option(help="Batch sizes of inference; repeatable.")] = None,
    train_batch: Annotated[list[int] | None, typer.Option(help="Batch sizes of the training step; repeatable.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each contender takes.")] = 7,
    threads: Annotated[
        int, typer.Option(min=1, help="Of PyTorch, ONNX Runtime and JAX (the process is kept to as many cores).")
    ] = 2,
    compiled: Annotated[bool, typer.Option(help="Also torch.compile (needs a C++ compiler).")] = True,
    out: Annotated[Path | None, typer.Option(help="Write every time to this JSON file.")] = None,
) -> None:
    """Print one table."""
    if hasattr(os, "sched_setaffinity"):
        # XLA sizes its pool by the cores that the process may use.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)
    prepare_for_scoring()
    released = load_weights(find_weights(weights))
    rng = np.random.default_rng(0)
    results = []
    for size in [1, 8] if batch is None else batch:
        wave = (0.1 * rng.standard_normal((size, released.config.nb_samp))).astype(np.float32)
        results += measure("inference", size, inference(released, wave, threads, compiled), SAME_LOGITS, rounds)
    for size in [8] if train_batch is None else train_batch:
        wave = (0.1 * rng.standard_normal((size, released.config.nb_samp))).astype(np.float32)
        results += measure("training step", size, training(released, wave, compiled), SAME_LOSS, rounds)
    print_table(results, f"{released.model_id}, {platform.processor() or platform.machine()}, {threads} threads")
    if out:
        out.write_text(json.dumps({"machine": describe_machine(threads), "results": results}, indent=2) + "\n")


def inference(released: Weights, wave: np.ndarray, threads: int, compiled: bool) -> dict[str, Contender]:
    """Make the contenders of inference: each gives the logits of a batch."""
    model = torch_model(released).eval()
    # The stubs of `Module.to` know of no memory format alone.
    last: Any = torch_model(released).eval()
    last = last.to(memory_format=torch.channels_last)
    tensor = torch.from_numpy(wave)

    def eager(module: Any) -> Contender:
        def logits() -> np.ndarray:
            with torch.inference_mode():
                return module(tensor)[1].numpy()

        return logits

    detector = Detector(released)
    contenders = {EAGER: eager(model), "PyTorch channels last": eager(last)}
    if compiled:
        contenders["torch.compile"] = eager(torch.compile(model))
    session = onnx_session(detector, threads)
    contenders["ONNX Runtime"] = lambda: session.run(["logits"], {"wave": wave})[0]
    return contenders | {"aasist_jax": lambda: detector.logits(wave)}


def onnx_session(detector: Detector, threads: int) -> Any:
    """Export the model and open it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export_onnx(detector, path)
        return onnxruntime.InferenceSession(path, options)


def training(released: Weights, wave: np.ndarray, compiled: bool) -> dict[str, Contender]:
    """Make the contenders of the training step, without dropout: each gives the losses so far."""
    label = np.arange(len(wave), dtype=np.int32) % 2
    contenders: dict[str, Contender] = {EAGER: torch_step(torch_model(released), wave, label)}
    if compiled:
        contenders["torch.compile"] = torch_step(torch.compile(torch_model(released)), wave, label)
    return contenders | {"aasist_jax": jax_step(released, wave, label)}


def torch_model(released: Weights) -> TorchAASIST:
    """Build the PyTorch model with the same weights and no dropout."""
    config = released.config
    model = TorchAASIST(
        {
            name: getattr(config, name)
            for name in ("nb_samp", "first_conv", "filts", "gat_dims", "pool_ratios", "temperatures")
        }
    )
    tensors = to_torch(config, released.variables)
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()})
    model.set_dropout(0)
    return model


def torch_step(model: Any, wave: np.ndarray, label: np.ndarray) -> Contender:
    """Make a step of Adam with L2, as the official code takes it."""
    options = OptimConfig()
    adam = torch.optim.Adam(model.parameters(), options.base_lr, options.betas, weight_decay=options.weight_decay)
    criterion = torch.nn.CrossEntropyLoss(torch.tensor([0.1, 0.9]))
    inputs, labels = torch.from_numpy(wave), torch.from_numpy(label).long()
    model.train()

    def step() -> np.ndarray:
        loss = criterion(model(inputs)[1], labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        return np.array([loss.item()])

    return step


def jax_step(released: Weights, wave: np.ndarray, label: np.ndarray) -> Contender:
    """Make the step that `scripts/train.py` takes, on one device."""
    model = AASIST(released.config, dropout=DropoutRates(0, 0, 0, 0))
    optimizer = make_optimizer(OptimConfig(), 10**6, released.variables["params"], lambda path: "/bn1/" in path)
    step = jax.jit(make_train_step(model, optimizer), donate_argnums=0)
    state = init_state(jax.tree.map(jax.numpy.array, released.variables), optimizer)

    def once() -> np.ndarray:
        nonlocal state
        state, metrics = step(state, {"wave": wave, "label": label})
        return np.array([float(jax.block_until_ready(metrics["loss"]))])

    return once


def measure(
    what: str, size: int, contenders: dict[str, Contender], tolerance: float, rounds: int
) -> list[dict[str, Any]]:
    """Warm up, compare, then let the contenders take turns."""
    first, results = {}, {}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for name, contender in contenders.items():
        began = time.perf_counter()
        results[name] = contender()
        first[name] = time.perf_counter() - began
    differences = {name: float(np.abs(result - results[EAGER]).max()) for name, result in results.items()}
    worst = max(differences, key=lambda name: differences[name])
    if differences[worst] > tolerance:
        raise typer.BadParameter(f"{what}, batch {size}: {worst} differs from {EAGER} by {differences[worst]:.1e}")
    names = list(contenders)
    for i in range(rounds):
        # Whoever begins changes, so that nobody always follows the same neighbour.
        for name in names[i % len(names) :] + names[: i % len(names)]:
            began = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - began)
    return [
        {
            "what": what,
            "batch": size,
            "contender": name,
            "first_call_s": first[name],
            "seconds": seconds[name],
            "speed_up": [base / own for base, own in zip(seconds[EAGER], seconds[name], strict=True)],
            "difference": differences[name],
        }
        for name in names
    ]


def print_table(results: list[dict[str, Any]], title: str) -> None:
    """Print medians, and the ratio to eager PyTorch with its extremes."""
    table = Table(title=title)
    for column in ("", "batch", "contender", "ms", "clips/s", "times eager", "lowest", "highest", "first call (s)"):
        table.add_column(column, justify="left" if column in ("", "contender") else "right")
    for row in results:
        median = statistics.median(row["seconds"])
        ratios = row["speed_up"]
        table.add_row(
            row["what"],
            str(row["batch"]),
            row["contender"],
            f"{1000 * median:.0f}",
            f"{row['batch'] / median:.1f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f}",
            f"{max(ratios):.2f}",
            f"{row['first_call_s']:.1f}",
        )
    Console(width=120).print(table)


def describe_machine(threads: int) -> dict[str, Any]:
    """Name what the figures depend on."""
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "threads": threads,
        "jax": jax.__version__,
        "torch": torch.__version__,
        "device": str(jax.devices()[0]),
    }


if __name__ == "__main__":
    run(main)
