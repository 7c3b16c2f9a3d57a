"""Inference and the training step beside PyTorch, ONNX Runtime, and another checkout of the project.

One entry in a dictionary adds an implementation.
"""

import contextlib
import dataclasses
from typing import Any

import numpy as np
import onnxruntime
import torch

from aasist_jax.config import OptimConfig
from aasist_jax.detection.detector import Detector
from aasist_jax.export.onnx_file import export_onnx
from aasist_jax.models.aasist.config import AASISTConfig
from aasist_jax.models.family import family_of
from aasist_jax.weights.folder import load_weights
from aasist_jax.weights.names import to_torch
from benchmarks.options import Options
from benchmarks.processes import REPOSITORY, child
from benchmarks.rounds import BenchmarkError, Implementation, Table, Timing, ratios, take_turns, timing_table

OURS, EAGER, ONNX = "aasist_jax", "PyTorch eager", "ONNX Runtime (our export)"
SAME = 1e-4
"""Largest difference from the logits or the loss of eager PyTorch, of an implementation that computes in float32."""

BFLOAT16_LOGITS, BFLOAT16_LOSS = 0.4, 0.2
"""Largest differences in bfloat16, as its tests allow them. TF32 has more digits and stays far below them."""

CHANNELS_LAST_LOSS = 0.02
"""PyTorch's training step in channels last, in float32: of a loss of 12 it is off by up to 0.008 from PyTorch's own
channels first, which ours equals to 1e-5."""

CLIPS_A_TURN = 8
"""In `revisions`, a turn computes at least so many clips, because a turn of a tenth of a second is left to chance."""

Entry = tuple[str, dict[str, Any], float]
"""The program that runs an implementation, its options beside the batch, and its tolerance."""


def inference(options: Options) -> list[Table]:
    """Time inference, from samples in the host's memory to logits there; the first two calls must agree."""
    return _compare("inference", options.batch, options, compared=2)


def training(options: Options) -> list[Table]:
    """Time the training step, without dropout, on the same clips again and again.

    The losses before the first step are compared. Those after it cannot be: the gradients of biases before a batch norm
    are rounding noise, which Adam turns into steps of full size, and PyTorch's own two layouts part by 0.01. Each takes
    turns with eager PyTorch alone: PyTorch holds on to 7 to 10 GB for a batch of 8.
    """
    return _compare("training_step", options.steps, options, compared=1)


def entries(what: str, options: Options) -> dict[str, Entry]:
    """Every implementation by name, the one that the others are compared with first: one line here adds one.

    That is eager PyTorch for AASIST; other families have ours alone, and ONNX Runtime if they have an ONNX form.
    """
    found: dict[str, Entry] = {}
    exact, loose = (SAME, BFLOAT16_LOGITS) if what == "inference" else (CHANNELS_LAST_LOSS, BFLOAT16_LOSS)
    layouts = {EAGER: "eager", "PyTorch channels last": "channels last", "torch.compile": "compiled"}
    recipe, config = OptimConfig(), load_weights(options.weights).config
    torch_model = write_torch_model(options) if isinstance(config, AASISTConfig) else {}
    torch_model |= {} if what == "inference" else {"adam": (recipe.base_lr, recipe.betas, recipe.weight_decay)}
    layouts = layouts if isinstance(config, AASISTConfig) else {}
    for arithmetic in ("float32", "TF32", "bfloat16 autocast") if options.gpu else ("float32",):
        for name, layout in layouts.items():
            tolerance = loose if arithmetic != "float32" else exact if layout == "channels last" else SAME
            own = torch_model | {"layout": layout, "arithmetic": arithmetic}
            name += "" if arithmetic == "float32" else f", {arithmetic}"
            if not (layout == "compiled" and options.no_compiled) and (torch.cuda.is_available() or not options.gpu):
                found[name] = (f"torch_programs.py:{what}", own, tolerance)
    has_onnx = what == "inference" and family_of(config).onnx_graph is not None
    if has_onnx and (not options.gpu or "CUDAExecutionProvider" in onnxruntime.get_available_providers()):
        found[ONNX] = ("onnx_programs.py:inference", write_onnx_model(options), SAME)
    program, ours = f"jax_programs.py:{what}", {"weights": options.weights}
    found[OURS] = (program, ours, SAME)
    if options.gpu and what == "training_step":
        found[f"{OURS}, TF32"] = (program, ours | {"precision": None}, loose)
    if options.gpu or what == "inference":
        # On a CPU nobody trains in bfloat16.
        found[f"{OURS}, bfloat16"] = (program, ours | {"dtype": "bfloat16"}, loose)
    return found


def revisions(options: Options) -> list[Table]:
    """Let `--base` and this checkout take turns. Results must agree; where `off by` is 0 they are equal bit by bit."""
    base, rows = options.path("base").resolve(), []
    for what, size in [*(("inference", n) for n in options.batch), *(("training_step", n) for n in options.steps)]:
        calls, found = max(CLIPS_A_TURN // size, 1), {}
        with contextlib.ExitStack() as stack:
            for name, checkout in {"base": base, "this": REPOSITORY}.items():
                own: dict[str, Any] = {"what": what, "weights": options.weights, "batch": size, "calls": calls}
                process = stack.enter_context(child(name, "revision_programs.py:make", checkout=checkout, **own))
                found[name] = Implementation(process.call, SAME)
            one, this = take_turns(what, found, rounds=options.rounds)
        rows.append((what, size, one.ms / calls, this.ms / calls, *this.speed, this.difference))
    columns = " | batch | base (ms):.4g | this (ms):.4g | base / this:.3f | lowest:.3f | highest:.3f | off by:.0e"
    return [Table(f"this checkout beside {base.name}, {options.rounds} rounds", columns, rows)]


def write_torch_model(options: Options) -> dict[str, Any]:
    """Write the weights with PyTorch's names and layouts; returns the options of the PyTorch programs.

    Raises:
        BenchmarkError: the model is no AASIST.
    """
    weights, path = load_weights(options.weights), options.scratch / "model.pt"
    if not isinstance(weights.config, AASISTConfig):
        raise BenchmarkError("the FLOPs are counted on a PyTorch model, which only AASIST has; leave this section out")
    state = {k: torch.from_numpy(np.array(v)) for k, v in to_torch(weights.config, weights.variables).items()}
    torch.save({"config": dataclasses.asdict(weights.config), "state": state}, path)
    return {"model": str(path), "threads": options.threads, "device": "cuda" if options.gpu else "cpu"}


def write_onnx_model(options: Options) -> dict[str, Any]:
    """Export the weights to ONNX; returns the options of the ONNX Runtime program."""
    detector, path = Detector.from_pretrained(options.weights), options.scratch / "model.onnx"
    export_onnx(detector, path)
    return {"model": str(path), "samples": detector.window, "threads": options.threads, "gpu": options.gpu}


def _compare(what: str, sizes: tuple[int, ...], options: Options, *, compared: int) -> list[Table]:
    """Let the implementations take turns at every batch size. In inference, ours takes part in every group."""
    rows, against, memory, taking_part, shown = [], [], [], entries(what, options), what.replace("_", " ")
    for size in sizes:
        found: dict[str, Timing] = {}
        for names in groups(list(taking_part), beside=what == "inference"):
            with contextlib.ExitStack() as stack:
                calls, processes = {}, {}
                for name in names:
                    program, own, tolerance = taking_part[name]
                    processes[name] = stack.enter_context(child(name, program, batch=size, **own))
                    calls[name] = Implementation(processes[name].call, tolerance)
                turns = take_turns(f"{what}, batch {size}", calls, rounds=options.rounds, compared=compared)
                new = [one for one in turns if one.name not in found]
                memory += [(shown, size, one.name, processes[one.name].memory_mb("VmHWM")) for one in new]
            if turns[-1].name == OURS and what == "inference":
                others = (one for one in new if one.name != OURS)
                against += [(size, one.name, *ratios(one.seconds, turns[-1].seconds)) for one in others]
            found |= {one.name: one for one in new}
        rows += [(shown, size, found[name]) for name in taking_part]
    columns = "batch | implementation | times as fast:.2f | lowest:.2f | highest:.2f"
    return [
        timing_table(f"{shown}, medians of {options.rounds} rounds", rows),
        Table(f"{shown}, {OURS} in float32 against each, within a round", columns, against),
        Table("peak memory of the host, a process each", " | batch | implementation | peak (MB):.0f", memory),
    ]


def groups(names: list[str], *, beside: bool) -> list[list[str]]:
    """Divide the implementations into groups that are in memory at once, since all of them would need too much.

    A group has the first, one other and, with `beside`, ours.
    """
    first, *rest = names
    ours = [OURS] if beside and OURS in rest else []
    return [[first, other, *ours] for other in rest if other not in ours] or [[first, *ours]]
