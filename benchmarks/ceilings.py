"""Counts the FLOPs of a clip, measures the best speed of the machine, and gives the share of it that the model reaches.

PyTorch counts, on its own implementation of the model, convolutions and matrix products as direct sums, two FLOPs for a
multiply-add: 98 % of all. Winograd's filtering, which a CPU uses, takes 15 products where direct sums take 36, so that
a share above 100 % is no error.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import jax_programs, torch_programs
from benchmarks.comparison import write_torch_model
from benchmarks.options import Options
from benchmarks.rounds import Implementation, Table, take_turns

SIDES = (512, 1024, 2048, 4096)
"""Sides of the square matrices whose products are timed; the quickest counts."""


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
    rows = [(name, 1e-6 * forward[name], 1e-6 * training[name]) for name in forward]
    return [Table("counted for one clip", "layer | MFLOP, forward:.2f | MFLOP, training:.2f", rows)]


def ceilings(options: Options) -> list[Table]:
    """Measure matrix products and the model, and compare."""
    peaks = [max(_product(side, dtype, options.rounds) for side in SIDES) for dtype in (jnp.float32, jnp.bfloat16)]
    best, rows = list(zip(("float32 (GFLOP/s)", "bfloat16 (GFLOP/s)"), peaks, strict=True)), []
    for what, sizes in (("inference", options.batch), ("training_step", options.steps)):
        flops = count(options, what)["Global"]
        for size in sizes:
            call = getattr(jax_programs, what)(options.weights, size)
            ms = take_turns(what, {what: Implementation(call, np.inf)}, rounds=options.rounds)[0].ms
            speed = 1e-6 * size * flops / ms
            rows.append((what.replace("_", " "), size, ms, speed, speed / peaks[0]))
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
