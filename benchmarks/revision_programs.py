"""Programs of any checkout of the project, by what its own benchmarks have for them."""

from importlib import import_module
from pathlib import Path
from typing import Any


def make(what: str, weights: str, batch: int, calls: int) -> Any:
    """Make a call that does `what`, inference or training_step, `calls` times; logits or losses."""
    # Of this checkout: an editable install may bring the benchmarks of another one.
    checkout = Path(str(import_module("aasist_jax").__file__)).parents[1]
    if (checkout / "benchmarks" / "jax_programs.py").exists():
        call = getattr(import_module("benchmarks.jax_programs"), what)(weights, batch)
    else:
        # Before the benchmarks had a folder of their own.
        programs, inputs = (import_module(f"scripts.benchmarking.{name}") for name in ("jax_contenders", "inputs"))
        loaded = import_module("aasist_jax.weights").load_weights(weights)
        given = (loaded, inputs.noise(batch, loaded.config.nb_samp), inputs.labels(batch))
        call = programs.jax_inference(*given[:2]) if what == "inference" else programs.jax_training(*given)
    return lambda: [call().tolist() for _ in range(calls)]
