"""Inference and the training step beside PyTorch, ONNX Runtime, another checkout, and what the machine can do at best.

PyTorch counts the FLOPs, two for a multiply-add, of convolutions and matrix products as direct sums: 98 % of all.
Winograd's filtering, which a CPU uses, takes 15 products where direct sums take 36, so a share above 100 % is no error.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import torch
from torch.utils.flop_counter import FlopCounterMode

from aasist_jax.config import OptimConfig
from aasist_jax.detection.detector import Detector
from aasist_jax.export.onnx_file import export_onnx
from aasist_jax.models.aasist.config import AASISTConfig
from aasist_jax.models.family import family_of
from aasist_jax.weights.folder import load_weights
from aasist_jax.weights.names import to_torch
from benchmarks import jax_programs, torch_programs
from benchmarks.options import Options
from benchmarks.processes import REPOSITORY, child
from benchmarks.rounds import BenchmarkError, Implementation, Table, Timing, take_turns, timing_table

OURS, EAGER, ONNX = "aasist_jax", "PyTorch eager", "ONNX Runtime (our export)"
SAME, BFLOAT16_LOGITS, BFLOAT16_LOSS, CHANNELS_LAST_LOSS = 1e-4, 0.4, 0.2, 0.02
"""Largest differences from eager PyTorch: in float32; in bfloat16, as its tests allow them (TF32 stays far below); and
of the loss of PyTorch's channels last, of about 12, which is off by up to 0.008 where ours is by 1e-5."""

CLIPS_A_TURN = 8
"""In `revisions`, a turn computes at least so many clips: one of a tenth of a second would be left to chance."""

SIDES = (512, 1024, 2048, 4096)
"""Sides of the square matrices whose products are timed; the quickest counts."""

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
    recipe, config, layouts = OptimConfig(), load_weights(options.weights).config, dict[str, str]()
    if isinstance(config, AASISTConfig) and (torch.cuda.is_available() or not options.gpu):
        layouts = {EAGER: "eager", "PyTorch channels last": "channels last"}
        layouts |= {} if options.no_compiled else {"torch.compile": "compiled"}
        model = write_torch_model(options)
        model |= {} if what == "inference" else {"adam": (recipe.base_lr, recipe.betas, recipe.weight_decay)}
    for arithmetic in ("float32", "TF32", "bfloat16 autocast") if options.gpu else ("float32",):
        for name, layout in layouts.items():
            tolerance = loose if arithmetic != "float32" else exact if layout == "channels last" else SAME
            name += "" if arithmetic == "float32" else f", {arithmetic}"
            own = model | {"layout": layout, "arithmetic": arithmetic}
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
    if not (base / "benchmarks" / "jax_programs.py").exists():
        raise BenchmarkError(f"--base: {base} is no checkout of this project, or one from before it had benchmarks/")
    for what, size in [*(("inference", n) for n in options.batch), *(("training_step", n) for n in options.steps)]:
        calls, found = max(CLIPS_A_TURN // size, 1), {}
        with contextlib.ExitStack() as stack:
            for name, checkout in {"base": base, "this": REPOSITORY}.items():
                own: dict[str, Any] = {"weights": options.weights, "batch": size}
                process = stack.enter_context(child(name, f"jax_programs.py:{what}", checkout=checkout, **own))
                found[name] = Implementation(functools.partial(_calls, process.call, calls), SAME)
            one, this = take_turns(what, found, rounds=options.rounds)
        rows.append((what, size, one.ms / calls, this.ms / calls, *this.times_as_fast(one.seconds), this.difference))
    columns = " | batch | base (ms):.4g | this (ms):.4g | base / this:.3f | lowest:.3f | highest:.3f | off by:.0e"
    return [Table(f"this checkout beside {base.name}, {options.rounds} rounds", columns, rows)]


def _calls(call: Callable[[], np.ndarray], count: int) -> np.ndarray:
    return np.array([call() for _ in range(count)])


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
                against += [(size, one.name, *turns[-1].times_as_fast(one.seconds)) for one in others]
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


def count(options: Options, what: str) -> dict[str, int]:
    """Count the FLOPs of one clip in every module of PyTorch's implementation; `Global` is their sum."""
    # Shapes are enough: nothing is computed on the device `meta`.
    module, *_ = torch_programs.load(**write_torch_model(options) | {"device": "meta"})
    with FlopCounterMode(display=False) as counter:
        logits = module(torch.zeros(2, module.samples, device="meta"))[1]
        if what == "training_step":
            logits.sum().backward()
    return {str(name): sum(found.values()) // 2 for name, found in counter.get_flop_counts().items()}


def layers(options: Options) -> list[Table]:
    """Count every layer of inference, and of a training step with its gradients; nothing is measured."""
    forward, training = (count(options, what) for what in ("inference", "training_step"))
    rows = [(name, 1e-6 * forward[name], 1e-6 * training[name]) for name in sorted(forward)]
    return [Table("counted for one clip", "layer | MFLOP, forward:.2f | MFLOP, training:.2f", rows)]


def ceilings(options: Options) -> list[Table]:
    """Measure matrix products and the model, and compare."""
    dtypes, rows = {"float32 (GFLOP/s)": jnp.float32, "bfloat16 (GFLOP/s)": jnp.bfloat16}, []
    best = [(name, max(_product(side, each, options.rounds) for side in SIDES)) for name, each in dtypes.items()]
    for what, sizes in (("inference", options.batch), ("training_step", options.steps)):
        flops = count(options, what)["Global"]
        for size in sizes:
            call = getattr(jax_programs, what)(options.weights, size)
            ms = take_turns(what, {what: Implementation(call, np.inf)}, rounds=options.rounds)[0].ms
            speed = 1e-6 * size * flops / ms
            rows.append((what.replace("_", " "), size, ms, speed, speed / best[0][1]))
    return [
        Table(f"matrix products, {options.threads} threads", " | best:.4g", best),
        Table("share of the ceiling, float32", " | batch | ms:.4g | GFLOP/s:.4g | share:.0%", rows),
    ]


def _product(side: int, dtype: Any, rounds: int) -> float:
    """GFLOP/s of a product of two square matrices, the quickest."""
    a = jax.random.normal(jax.random.key(0), (side, side), jnp.float32).astype(dtype)
    with jax.default_matmul_precision("highest"):
        product = jax.jit(jnp.matmul).lower(a, a).compile()
    call = Implementation(lambda: np.asarray(product(a, a)[:1, :1].astype(jnp.float32)))
    return 2e-9 * side**3 / min(take_turns("ceilings", {"product": call}, rounds=rounds)[0].seconds)
