"""What has to be measured in a process of its own: `python -m scripts.benchmarking.child TASK '{"json": "options"}'`.

Every task imports what it needs itself, so that the memory of PyTorch's process has no JAX in it, nor the other way
round. The result is one line of JSON.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scripts.benchmarking.inputs import labels, noise
from scripts.benchmarking.turns import BenchmarkError

REPOSITORY = Path(__file__).resolve().parents[2]
Options = dict[str, Any]


def run_child(task: str, options: Options, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a task in a process of its own, and give what it found.

    Raises:
        BenchmarkError: it failed; with its last line.
    """
    command = [sys.executable, "-m", "scripts.benchmarking.child", task, json.dumps(options)]
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)} | (environment or {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=variables)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BenchmarkError(f"{task}: {last}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def memory_mb(name: str) -> float:
    """Read a figure of this process' memory, in MB."""
    # Not ru_maxrss, which begins with what the parent had.
    return 1024e-6 * int(Path("/proc/self/status").read_text().partition(name + ":")[2].split()[0])


def _peak(call: Callable[[], np.ndarray]) -> dict[str, Any]:
    before = memory_mb("VmRSS")
    for _ in range(2):
        call()
    return {"before_mb": before, "peak_mb": memory_mb("VmHWM")}


def ours_inference(options: Options) -> dict[str, Any]:
    """Peak memory of our inference."""
    weights = _ours(options)
    from scripts.benchmarking.jax_contenders import jax_inference

    return _peak(jax_inference(weights, noise(options["batch"], weights.config.nb_samp)))


def ours_training(options: Options) -> dict[str, Any]:
    """Peak memory of our training step."""
    weights = _ours(options)
    from scripts.benchmarking.jax_contenders import jax_training

    return _peak(jax_training(weights, noise(options["batch"], weights.config.nb_samp), labels(options["batch"])))


def torch_inference(options: Options) -> dict[str, Any]:
    """Peak memory of eager PyTorch's inference."""
    model, wave, torch_contenders = _torch(options)
    return _peak(torch_contenders.torch_inference(model, wave, torch_contenders.Flavour()))


def torch_training(options: Options) -> dict[str, Any]:
    """Peak memory of eager PyTorch's training step."""
    model, wave, torch_contenders = _torch(options)
    adam = torch_contenders.Adam(*options["adam"])
    flavour = torch_contenders.Flavour()
    return _peak(torch_contenders.torch_training(model, wave, labels(len(wave)), adam, flavour))


def onnx_inference(options: Options) -> dict[str, Any]:
    """Peak memory of ONNX Runtime's inference."""
    from scripts.benchmarking.onnx_contenders import onnx_inference as make

    return _peak(make(options["model"], noise(options["batch"], options["samples"]), options["threads"]))


def compile_inference(options: Options) -> dict[str, Any]:
    """Seconds to trace and lower, and to compile, inference."""
    weights = _ours(options)
    from scripts.benchmarking.jax_contenders import lowered_inference

    return _compile(lambda: lowered_inference(weights, options["batch"]))


def compile_training(options: Options) -> dict[str, Any]:
    """Seconds to trace and lower, and to compile, the training step."""
    weights = _ours(options)
    import jax

    from scripts.benchmarking.jax_contenders import training_state

    step, state = training_state(weights)
    batch = {"wave": noise(options["batch"], weights.config.nb_samp), "label": labels(options["batch"])}
    return _compile(lambda: jax.jit(step, donate_argnums=0).lower(state, batch))


def _compile(lower: Callable[[], Any]) -> dict[str, Any]:
    began = time.perf_counter()
    lowered = lower()
    middle = time.perf_counter()
    lowered.compile()
    return {"lower_s": middle - began, "compile_s": time.perf_counter() - middle}


def devices(options: Options) -> dict[str, Any]:
    """Losses and seconds of a few training steps of a small model on as many virtual devices as the flags say."""
    import jax

    from aasist_jax.training.parallel import AXIS, batch_to_devices, parallel_step, replicate
    from aasist_jax.weights.folder import Source, Weights
    from scripts.benchmarking.jax_contenders import training_state
    from tests.models.aasist.tiny import CONFIG, scaled_variables

    weights = Weights(CONFIG, scaled_variables(), Source("tiny", ""), "tiny")
    function, state = training_state(weights, axis_name=AXIS)
    step, state = parallel_step(function), replicate(state)
    size = options["batch"]
    batch = batch_to_devices({"wave": noise(size, CONFIG.nb_samp), "label": labels(size)})
    losses, seconds = [], []
    for _ in range(options["steps"]):
        began = time.perf_counter()
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
        seconds.append(time.perf_counter() - began)
    return {"devices": jax.device_count(), "losses": losses, "seconds": seconds}


def _ours(options: Options) -> Any:
    from aasist_jax.runtime.start_up import prepare_to_compute
    from aasist_jax.weights.folder import load_weights

    prepare_to_compute()
    return load_weights(options["weights"])


def _torch(options: Options) -> tuple[Any, np.ndarray, Any]:
    import torch

    from scripts.benchmarking import torch_contenders

    torch.set_num_threads(options["threads"])
    stored = torch.load(options["model"], weights_only=True)
    wave = noise(options["batch"], stored["config"]["nb_samp"])
    return torch_contenders.TorchModel(stored["config"], stored["state"]), wave, torch_contenders


TASKS: dict[str, Callable[[Options], dict[str, Any]]] = {
    task.__name__: task
    for task in (
        ours_inference,
        ours_training,
        torch_inference,
        torch_training,
        onnx_inference,
        compile_inference,
        compile_training,
        devices,
    )
}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](json.loads(sys.argv[2]))))
