"""Export to StableHLO: the compiled program, which any process with JAX can run without this package.

The file is a ZIP archive of two members: `model.stablehlo`, as `jax.export` serialises it, and `facts.json`.
"""

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from aasist_jax.detection.detector import Detector
from aasist_jax.errors import ExportError
from aasist_jax.export.contract import Lengths, Run, Waves, describe, write_checked
from aasist_jax.models.network import score_function
from aasist_jax.ops.choice import xla_only

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAM, FACTS = "model.stablehlo", "facts.json"


def export_stablehlo(detector: Detector, path: str | PathLike[str]) -> float:
    """Write a model of any family as StableHLO: waves (batch, window), float32 at 16 kHz -> logits (batch, 2).

    A model without a fixed window has a second input: the number of valid samples of each clip, int32 (batch,); zeros
    follow them in the waves. The batch size is variable, the number of samples in the waves is not. The program runs on
    CPU, CUDA and TPU, in full float32 on each. `facts.json` holds the metadata of `contract.describe`.

    Args:
        detector: the model, computing in float32.
        path: the file to write; an existing file is replaced.

    Returns:
        The largest absolute difference between exported and native logits, at most 1e-4.

    Raises:
        ExportError: a part of the model runs outside of the compiled program, or `write_checked` fails.
    """
    if part := detector.family.on_host(detector.weights.config):
        raise ExportError(
            f"{path}: {part} runs in Python, beside the program that would be exported; train with another kind"
        )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(PROGRAM, _program(detector))
        archive.writestr(FACTS, json.dumps(describe(detector), indent=2) + "\n")
    return write_checked(Path(path), content.getvalue(), detector, _load)


def _program(detector: Detector) -> bytes:
    (batch,) = export.symbolic_shape("batch")
    inputs = [jax.ShapeDtypeStruct((batch, detector.window), jnp.float32)]
    if not detector.window_rule.fixed:
        inputs.append(jax.ShapeDtypeStruct((batch,), jnp.int32))
    score = score_function(detector.weights.config, detector.network)
    logits = jax.jit(lambda *inputs: score(detector.variables, *inputs))
    with jax.default_matmul_precision("highest"), _source_files_without_folders(), xla_only():
        program = export.export(logits, platforms=PLATFORMS)(*inputs)
    return bytes(program.serialize())


@contextlib.contextmanager
def _source_files_without_folders() -> Iterator[None]:
    """Strip this machine's folders from the source locations that the program records for every operation."""
    option = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, option)
    jax.config.update(option, ".*/")
    try:
        yield
    finally:
        jax.config.update(option, before)


def _load(path: Path) -> Run:
    with zipfile.ZipFile(path) as archive:
        program: Any = jax.jit(export.deserialize(bytearray(archive.read(PROGRAM))).call)

    def run(waves: Waves, lengths: Lengths | None) -> np.ndarray:
        return np.asarray(program(waves) if lengths is None else program(waves, lengths))

    return run
