"""ONNX Runtime's side. Imports no JAX, so that a process of ONNX Runtime alone can measure its memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

CUDA = "CUDAExecutionProvider"


def can_use_gpu() -> bool:
    """Whether this build of ONNX Runtime computes on a GPU."""
    return CUDA in onnxruntime.get_available_providers()


def onnx_inference(path: Path, wave: np.ndarray, threads: int, *, gpu: bool = False) -> Callable[[], np.ndarray]:
    """Make a call that gives the logits of a batch by an exported model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=[CUDA if gpu else "CPUExecutionProvider"])
    return lambda: session.run(["logits"], {"wave": wave})[0]
