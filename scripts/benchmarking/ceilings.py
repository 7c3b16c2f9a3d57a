"""Measured ceilings of the machine, and the share of the limit that the model reaches."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp

from scripts.benchmarking.inputs import labels, noise
from scripts.benchmarking.jax_contenders import jax_training, resident_inference
from scripts.benchmarking.setting import Section, Setting
from scripts.benchmarking.tables import make_table
from scripts.benchmarking.turns import Contender, take_turns
from scripts.benchmarking.work import Layer, layers, totals

CPU_SIZES, GPU_SIZES = (512, 1024, 2048), (2048, 4096, 8192)
"""Sides of the square matrices whose product is timed; the quickest counts."""


@dataclass(frozen=True)
class Ceilings:
    """What the machine does at best."""

    float32_flops: float
    bfloat16_flops: float
    bytes_per_second: float


def measure_ceilings(sizes: Sequence[int], array_mib: int, rounds: int) -> Ceilings:
    """Time matrix products and an addition to a long array, through JAX, the quickest of all rounds."""
    float32, bfloat16 = (max(_product(size, dtype, rounds) for size in sizes) for dtype in (jnp.float32, jnp.bfloat16))
    return Ceilings(float32, bfloat16, _bandwidth(array_mib, rounds))


def _product(size: int, dtype: Any, rounds: int) -> float:
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (size, size), jnp.float32).astype(dtype) for key in keys)
    with jax.default_matmul_precision("highest"):
        product = jax.jit(jnp.matmul).lower(a, b).compile()
    return float(2 * size**3 / _quickest(lambda: product(a, b), rounds))


def _bandwidth(mib: int, rounds: int) -> float:
    """Bytes read and written in a second. The array is much longer than the caches are large."""
    x = jnp.zeros(mib * 2**20 // 4, jnp.float32)
    # Donated: a fresh array of this size would be paid for in page faults, not in bandwidth.
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def call() -> Any:
        nonlocal x
        x = add(x)
        return x

    seconds = _quickest(call, rounds)
    return float(2 * x.nbytes / seconds)


def _quickest(call: Callable[[], Any], rounds: int) -> float:
    jax.block_until_ready(call())
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def limit(work: Sequence[tuple[float, float]], ceilings: Ceilings) -> float:
    """Add up the least seconds of layers of (FLOPs, bytes): each waits for the slower of arithmetic and memory."""
    return sum(max(flops / ceilings.float32_flops, moved / ceilings.bytes_per_second) for flops, moved in work)


def limits(counted: Sequence[Layer], batch: int, ceilings: Ceilings, *, training: bool) -> dict[str, float]:
    """Work out the least seconds of a batch: layer by layer unfused, fused, and what the fused bytes alone take."""
    flops = [batch * (layer.flops + training * layer.backward_flops) for layer in counted]
    moved = [layer.training_bytes(batch) if training else layer.bytes(batch) for layer in counted]
    fused = [layer.fused_training_bytes(batch) if training else layer.fused_bytes(batch) for layer in counted]
    return {
        "unfused_s": limit(list(zip(flops, moved, strict=True)), ceilings),
        "fused_s": limit(list(zip(flops, fused, strict=True)), ceilings),
        "fused_bytes_s": sum(fused) / ceilings.bytes_per_second,
    }


def measure_limits(setting: Setting) -> Section:
    """Measure the ceilings, time the model on data that is on the device, and compare."""
    sizes = GPU_SIZES if setting.gpu else CPU_SIZES
    ceilings = measure_ceilings(sizes, setting.array_mib, setting.rounds)
    config = setting.weights.config
    counted = layers(config, config.nb_samp)
    figures: list[dict[str, Any]] = [{"what": "ceilings"} | asdict(ceilings)]
    work = [("inference", size, False) for size in setting.batches]
    work += [("training step", size, True) for size in setting.train_batches]
    for what, size, training in work:
        wave = noise(size, config.nb_samp)
        call = (
            jax_training(setting.weights, wave, labels(size)) if training else resident_inference(setting.weights, wave)
        )
        turns = take_turns(f"limits, {what}", {what: Contender(call, 0.0)}, rounds=setting.rounds)[0]
        least = limits(counted, size, ceilings, training=training)
        total = totals(counted, size)
        figures.append(
            {"what": what, "batch": size, "seconds": turns.seconds, "median_s": turns.median}
            | least
            | {"share_" + name.removesuffix("_s"): seconds / turns.median for name, seconds in least.items()}
            | {"flops_per_second": total["training_flops" if training else "flops"] / turns.median}
        )
    ceiling_rows = [
        ("float32 matrix product (GFLOP/s)", f"{ceilings.float32_flops / 1e9:.4g}"),
        ("bfloat16 matrix product (GFLOP/s)", f"{ceilings.bfloat16_flops / 1e9:.4g}"),
        (f"memory, read and written, {setting.array_mib} MiB (GB/s)", f"{ceilings.bytes_per_second / 1e9:.4g}"),
    ]
    rows = [
        (
            f["what"],
            str(f["batch"]),
            f"{1e3 * statistics.median(f['seconds']):.4g}",
            f"{f['flops_per_second'] / 1e9:.4g}",
            f"{1e3 * f['unfused_s']:.4g}",
            f"{100 * f['share_unfused']:.0f} %",
            f"{1e3 * f['fused_s']:.4g}",
            f"{100 * f['share_fused']:.0f} %",
            f"{1e3 * f['fused_bytes_s']:.4g}",
            f"{100 * f['share_fused_bytes']:.0f} %",
        )
        for f in figures[1:]
    ]
    columns = ("", "batch", "ms", "GFLOP/s", "limit unfused (ms)", "share", "limit fused (ms)", "share")
    title = f"share of the limit, float32: {setting.weights.model_id}, {setting.threads} threads"
    tables = [
        make_table(f"ceilings of the machine, {setting.threads} threads", ("", "best"), ceiling_rows),
        make_table(title, (*columns, "fused bytes alone (ms)", "share"), rows),
    ]
    return Section(figures, tables)
