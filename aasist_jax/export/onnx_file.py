"""Export to ONNX: one file that ONNX Runtime can run without JAX."""

import importlib.util
import json
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aasist_jax.detection.detector import Detector
from aasist_jax.errors import ExportError
from aasist_jax.export.contract import Lengths, Run, Waves, describe, write_checked
from aasist_jax.models.family import family_of

if TYPE_CHECKING:
    import onnx


_INPUTS = ("wave", "length")


def export_onnx(detector: Detector, path: str | PathLike[str]) -> float:
    """Write a model as ONNX: `wave` (batch, window), float32 at 16 kHz -> `logits` (batch, 2), index 1 bona fide.

    A model without a fixed window has a second input, `length`: the number of valid samples of each clip, int32
    (batch,); zeros follow them in `wave`. The batch size is variable, the number of samples in `wave` is not. The
    file's metadata holds the values of `contract.describe`: strings as they are, everything else as JSON.

    Args:
        detector: the model, computing in float32.
        path: the file to write; an existing file is replaced.

    Returns:
        The largest absolute difference between exported and native logits, at most 1e-4.

    Raises:
        ExportError: the architecture has no ONNX form or one with other inputs, the extra `onnx` is not installed, or
            `write_checked` fails.
    """
    path, weights = Path(path), detector.weights
    onnx_graph = family_of(weights.config).onnx_graph
    if onnx_graph is None:
        raise ExportError(f"{detector.family.name} has no ONNX form; export it as StableHLO (--format stablehlo)")
    for module in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(module) is None:
            raise ExportError(f"{path}: {module} is not installed; run `pip install 'aasist-jax[onnx]'`")
    import onnx

    graph = onnx_graph(weights.config, weights.variables)
    names, expected = [one.name for one in graph.input], list(_INPUTS[: 1 if detector.window_rule.fixed else 2])
    if names != expected:
        raise ExportError(
            f"{path}: not written, the ONNX graph of {detector.family.name} has the inputs {names} where its window "
            f"asks for {expected}; mend its onnx_graph (see Family.onnx_graph)"
        )
    model = _model(graph, detector)
    onnx.checker.check_model(model, full_check=True)
    return write_checked(path, model.SerializeToString(), detector, _load)


def _model(graph: "onnx.GraphProto", detector: Detector) -> "onnx.ModelProto":
    from onnx import helper

    from aasist_jax.models.onnx_builder import IR_VERSION, OPSET

    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="aasist-jax")
    facts = describe(detector)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    helper.set_model_props(model, texts)
    return model


def _load(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(waves: Waves, lengths: Lengths | None) -> np.ndarray:
        given = (waves,) if lengths is None else (waves, lengths)
        return np.asarray(session.run(["logits"], dict(zip(_INPUTS, given, strict=False)))[0])

    return run
