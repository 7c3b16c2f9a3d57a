"""ONNX Runtime's implementation. Imports no JAX, so that its process holds the memory of ONNX Runtime alone."""

from collections.abc import Callable

import numpy as np
import onnxruntime

from benchmarks.inputs import noise


def inference(model: str, batch: int, samples: int, threads: int, gpu: bool = False) -> Callable[[], np.ndarray]:
    """Make a call that gives the logits of a batch by an exported model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = ["CUDAExecutionProvider" if gpu else "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model, options, providers=providers)
    inputs = {"wave": noise(batch, samples)}
    if len(session.get_inputs()) > 1:  # a model of clips of any length
        inputs["length"] = np.full(batch, samples, np.int32)
    return lambda: session.run(["logits"], inputs)[0]
