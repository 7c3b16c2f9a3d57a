"""Our own implementations. Weights are named by their folder, so that a program can run in a process of its own."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aasist_jax.config import OptimConfig
from aasist_jax.detection.detector import Detector
from aasist_jax.models.aasist.config import AASISTConfig, DropoutRates
from aasist_jax.models.family import family_of, window_of
from aasist_jax.models.network import build_network
from aasist_jax.training.loss import loss_of
from aasist_jax.training.optimizer import make_optimizer, never_trained
from aasist_jax.training.parallel import AXIS, batch_to_devices, parallel_step, replicate
from aasist_jax.training.step import init_state, make_train_step
from aasist_jax.weights.folder import load_weights
from benchmarks.inputs import labels, noise

Call = Callable[[], np.ndarray]


def inference(weights: str, batch: int, dtype: str = "float32") -> Call:
    """Make a call that gives the logits of a batch, from samples in the host's memory."""
    detector = Detector.from_pretrained(weights, dtype=jnp.dtype(dtype))
    wave = noise(batch, detector.window)
    return lambda: detector.batch_logits(wave)


def training_step(weights: str, batch: int, dtype: str = "float32", precision: str | None = "highest") -> Call:
    """Make a call that takes a step and gives the loss; `precision` None is the device's default, TF32 on a GPU."""
    function, state, clips = _step(weights, batch, dtype)
    step, clips = jax.jit(function, donate_argnums=0), jax.device_put(clips)

    def once() -> np.ndarray:
        nonlocal state
        with jax.default_matmul_precision(precision):
            state, metrics = step(state, clips)
        jax.block_until_ready(state)
        return np.array([float(metrics["loss"])])

    return once


def training_step_on_all_devices(weights: str, batch: int) -> Call:
    """Make a call that takes a step on every device there is: their count, the loss, and the seconds it took."""
    function, state, clips = _step(weights, batch, "float32", axis_name=AXIS)
    step, state, clips = parallel_step(function), replicate(state), batch_to_devices(clips)

    def once() -> np.ndarray:
        nonlocal state
        began = time.perf_counter()
        state, metrics = step(state, clips)
        return np.array([jax.device_count(), float(metrics["loss"]), time.perf_counter() - began])

    return once


def _step(weights: str, batch: int, dtype: str, axis_name: str | None = None) -> tuple[Any, Any, Any]:
    """Make the step that `scripts/train.py` takes, its first state, and a batch of noise; AASIST without dropout."""
    loaded = load_weights(weights)
    config, family = loaded.config, family_of(loaded.config)
    # AASIST's losses are compared with those of PyTorch, whose random numbers are others.
    own = {"dropout": DropoutRates(0.0, 0.0, 0.0, 0.0)} if isinstance(config, AASISTConfig) else {}
    network = build_network(config, dtype=jnp.dtype(dtype), axis_name=axis_name, **own)
    optimizer = make_optimizer(OptimConfig(), 10**6, loaded.variables["params"], never_trained(config))
    # A copy: the state is donated to the step.
    state = init_state(jax.tree.map(jnp.array, loaded.variables), optimizer)
    clips = {"wave": noise(batch, window_of(config).samples), "label": labels(batch)}
    if family.loss is not None:
        # What a family's own loss may ask for: all spoofs are of one attack, and all clips of one speaker.
        clips |= {"attack": 1 - clips["label"], "speaker": np.zeros(batch, np.int32)}
    return make_train_step(network, optimizer, loss=loss_of(family), axis_name=axis_name), state, clips
