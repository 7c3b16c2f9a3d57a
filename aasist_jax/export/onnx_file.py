"""Export to ONNX: one file that ONNX Runtime can run without JAX."""

import importlib.util
import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from aasist_jax.detection.detector import Detector
from aasist_jax.errors import ExportError
from aasist_jax.export.contract import Logits, Waves, describe, write_checked
from aasist_jax.models.family import family_of

if TYPE_CHECKING:
    import onnx


def export_onnx(detector: Detector, path: str | PathLike[str]) -> float:
    """Write a model as ONNX: `wave` (batch, window), float32 at 16 kHz -> `logits` (batch, 2), index 1 bona fide.

    The batch size is variable, the window is fixed. The file's metadata holds the values of `contract.describe`:
    strings as they are, everything else as JSON.

    Args:
        detector: the model, computing in float32.
        path: the file to write; an existing file is replaced.

    Returns:
        The largest absolute difference between exported and native logits, at most 1e-4.

    Raises:
        ExportError: the architecture has no ONNX form, the extra `onnx` is not installed, or `write_checked` fails.
    """
    path, weights = Path(path), detector.weights
    onnx_graph = family_of(weights.config).onnx_graph
    if onnx_graph is None:
        raise ExportError(f"{detector.family.name} has no ONNX form; export it as StableHLO (--format stablehlo)")
    for module in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(module) is None:
            raise ExportError(f"{path}: {module} is not installed; run `pip install 'aasist-jax[onnx]'`")
    import onnx

    model = _model(onnx_graph(weights.config, weights.variables), detector)
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


def _load(path: Path) -> Callable[[Waves], Logits]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda waves: session.run(["logits"], {"wave": waves})[0]
