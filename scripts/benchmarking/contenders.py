"""Who takes part in inference and in the training step: to add a contender is to add an entry to a dictionary."""

import contextlib
import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from aasist_jax.config import OptimConfig
from aasist_jax.detection.detector import Detector
from aasist_jax.export.onnx_file import export_onnx
from aasist_jax.runtime.start_up import prepare_to_compute
from aasist_jax.weights.folder import Weights
from aasist_jax.weights.names import to_torch
from scripts.benchmarking.apart import own_process
from scripts.benchmarking.inputs import labels, noise
from scripts.benchmarking.jax_contenders import jax_inference, jax_training
from scripts.benchmarking.onnx_contenders import can_use_gpu, onnx_inference
from scripts.benchmarking.setting import Section, Setting
from scripts.benchmarking.tables import make_table
from scripts.benchmarking.torch_contenders import (
    Adam,
    Arithmetic,
    Flavour,
    TorchModel,
    flavours,
    torch_inference,
    torch_training,
)
from scripts.benchmarking.turns import Contender, Turns, take_turns, times_as_fast, turns_table

OURS = "aasist_jax"
SAME_LOGITS = SAME_LOSS = 1e-4
"""Largest difference from eager PyTorch's float32 results, of a contender that computes in float32."""

BFLOAT16_LOGITS = 0.4
"""The same for bfloat16, as test_bfloat16.py allows it; TF32, with more digits, keeps to it by far."""

BFLOAT16_LOSS = 0.2

CHANNELS_LAST_LOSS = 0.02
"""PyTorch's training step in channels last, in float32: of a loss of 12 it is off by up to 0.008 from PyTorch's own
channels first, which ours equals to 1e-5."""


@dataclass(frozen=True)
class Job:
    """The same for every contender: weights, inputs, threads."""

    weights: Weights
    wave: np.ndarray
    threads: int
    gpu: bool

    @property
    def label(self) -> np.ndarray:
        """A label for each waveform."""
        return labels(len(self.wave))

    @property
    def device(self) -> str:
        """PyTorch's name of the device."""
        return "cuda" if self.gpu else "cpu"


Makers = dict[str, Callable[[Job], Contender]]


def inference_makers(setting: Setting) -> tuple[Makers, list[str]]:
    """Those who take part in inference, the baseline first, and lines on who does not."""
    torch_flavours, notes = _flavours(setting)
    makers: Makers = {flavour.name: functools.partial(_torch_inference, flavour) for flavour in torch_flavours}
    if setting.gpu and not can_use_gpu():
        notes.append("ONNX Runtime: left out, this build of it does not use the GPU")
    else:
        makers["ONNX Runtime (our export)"] = _onnx_inference
    makers[OURS] = functools.partial(_jax_inference, jnp.float32, SAME_LOGITS)
    makers["aasist_jax, bfloat16"] = functools.partial(_jax_inference, jnp.bfloat16, BFLOAT16_LOGITS)
    return makers, notes


def training_makers(setting: Setting) -> tuple[Makers, list[str]]:
    """Those who take part in the training step, the baseline first, and lines on who does not."""
    torch_flavours, notes = _flavours(setting)
    makers: Makers = {flavour.name: functools.partial(_torch_training, flavour) for flavour in torch_flavours}
    makers[OURS] = functools.partial(_jax_training, jnp.float32, "highest", SAME_LOSS)
    if setting.gpu:
        # What a GPU has for matrices; a CPU's default is float32, and its bfloat16 is for inference.
        makers["aasist_jax, TF32"] = functools.partial(_jax_training, jnp.float32, None, BFLOAT16_LOSS)
        makers["aasist_jax, bfloat16"] = functools.partial(_jax_training, jnp.bfloat16, None, BFLOAT16_LOSS)
    return makers, notes


def measure_inference(setting: Setting) -> Section:
    """Time inference, from samples in the host's memory to logits there."""
    return _measure(setting, "inference", setting.batches, *inference_makers(setting), compared=2, beside=(OURS,))


def measure_training(setting: Setting) -> Section:
    """Time the training step, without dropout, on the same clips again and again.

    The losses before the first step are compared. Those after it cannot be: the gradients of biases before a batch norm
    are rounding noise, which Adam turns into steps of full size, and PyTorch's own two layouts part by 0.01. Each takes
    turns with the baseline alone: PyTorch holds on to 7 to 10 GB for a batch of 8.
    """
    return _measure(setting, "training step", setting.train_batches, *training_makers(setting), compared=1, beside=())


def _measure(
    setting: Setting,
    what: str,
    sizes: tuple[int, ...],
    makers: Makers,
    notes: list[str],
    *,
    compared: int,
    beside: tuple[str, ...],
) -> Section:
    rows: list[tuple[str, int, Turns]] = []
    against: dict[tuple[int, str], tuple[float, float, float]] = {}
    for size in sizes:
        wave = noise(size, setting.weights.config.nb_samp)
        job = Job(setting.weights, wave, setting.threads, setting.gpu)
        shown: set[str] = set()
        for group in _groups(list(makers), beside):
            with contextlib.ExitStack() as stack:
                prepare = functools.partial(_prepare, setting.threads)
                contenders = {
                    name: stack.enter_context(own_process(name, prepare, makers[name], job)) for name in group
                }
                found = take_turns(f"{what}, batch {size}", contenders, rounds=setting.rounds, compared=compared)
            ours = {turns.contender: turns for turns in found}.get(OURS)
            for turns in found:
                if turns.contender in shown:
                    continue
                shown.add(turns.contender)
                rows.append((what, size, turns))
                if beside and ours is not None and turns is not ours:
                    against[size, turns.contender] = times_as_fast(ours, turns)
    rows.sort(key=lambda row: (sizes.index(row[1]), list(makers).index(row[2].contender)))
    title = f"{what}: {setting.weights.model_id}, {setting.threads} threads, medians of {setting.rounds} rounds"
    tables = [turns_table(title, rows)]
    if against:
        columns = ("batch", "contender", "times as fast", "lowest", "highest")
        title = f"{what}: {OURS} in float32 against each, within a round"
        cells = [(str(size), name, *(f"{x:.2f}" for x in ratios)) for (size, name), ratios in against.items()]
        tables.append(make_table(title, columns, cells, texts=2))
    figures = [
        {"what": what, "batch": size, "ours_times_as_fast": against.get((size, turns.contender))} | turns.figures()
        for _, size, turns in rows
    ]
    return Section(figures, tables, notes)


def _groups(names: list[str], beside: tuple[str, ...]) -> list[list[str]]:
    """Who is in memory at the same time: the baseline, another, and those `beside` them.

    Not all of them: PyTorch holds on to gigabytes for a batch of 24.
    """
    base, *rest = names
    beside = tuple(name for name in beside if name in rest)
    others = [name for name in rest if name not in beside]
    return [[base, other, *beside] for other in others] or [[base, *beside]]


def _flavours(setting: Setting) -> tuple[list[Flavour], list[str]]:
    if setting.gpu and not torch.cuda.is_available():
        return [], ["PyTorch: left out, this build of it does not use the GPU; ratios are to the first contender left"]
    return flavours(compiled=setting.compiled, gpu=setting.gpu), []


def as_torch_model(weights: Weights) -> TorchModel:
    """Bring weights into PyTorch's names and layouts."""
    names = ("nb_samp", "first_conv", "filts", "gat_dims", "pool_ratios", "temperatures")
    tensors = to_torch(weights.config, weights.variables)
    return TorchModel(
        {name: getattr(weights.config, name) for name in names},
        {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()},
    )


def adam_options() -> Adam:
    """The published recipe's."""
    options = OptimConfig()
    return Adam(options.base_lr, options.betas, options.weight_decay)


def _prepare(threads: int) -> None:
    # The same for all: our allocator's settings help PyTorch, too.
    prepare_to_compute()
    torch.set_num_threads(threads)


def _jax_inference(dtype: Any, tolerance: float, job: Job) -> Contender:
    return Contender(jax_inference(job.weights, job.wave, dtype), tolerance)


def _jax_training(dtype: Any, precision: str | None, tolerance: float, job: Job) -> Contender:
    return Contender(jax_training(job.weights, job.wave, job.label, dtype, precision), tolerance)


def _torch_inference(flavour: Flavour, job: Job) -> Contender:
    call = torch_inference(as_torch_model(job.weights), job.wave, flavour, job.device)
    return Contender(call, _tolerance(flavour.arithmetic, SAME_LOGITS, BFLOAT16_LOGITS))


def _torch_training(flavour: Flavour, job: Job) -> Contender:
    call = torch_training(as_torch_model(job.weights), job.wave, job.label, adam_options(), flavour, job.device)
    exact = CHANNELS_LAST_LOSS if flavour.channels_last else SAME_LOSS
    return Contender(call, _tolerance(flavour.arithmetic, exact, BFLOAT16_LOSS))


def _tolerance(arithmetic: Arithmetic, exact: float, loose: float) -> float:
    return exact if arithmetic == "float32" else loose


def _onnx_inference(job: Job) -> Contender:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export_onnx(Detector(job.weights), path)
        return Contender(onnx_inference(path, job.wave, job.threads, gpu=job.gpu), SAME_LOGITS)


def on_gpu() -> bool:
    """Whether JAX computes on a GPU."""
    return jax.default_backend() == "gpu"
