"""Our own implementations. Weights are named by their folder, so that a program can run in a process of its own."""

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
from benchmarks.rounds import BenchmarkError

Call = Callable[[], np.ndarray]


def inference(weights: str, batch: int, dtype: str = "float32") -> Call:
    """Make a call that gives the logits of a batch, from samples in the host's memory."""
    detector = Detector.from_pretrained(weights, dtype=jnp.dtype(dtype))
    wave = noise(batch, detector.window)
    return lambda: detector.logits(wave)


def training_step(
    weights: str, batch: int, dtype: str = "float32", precision: str | None = "highest", devices: int = 0
) -> Call:
    """Make a call that takes the step of `scripts/train.py` and gives the loss; AASIST without dropout.

    `precision` None is the device's default, TF32 on a GPU. With `devices` all that there are share the batch; they
    must be so many.
    """
    loaded, axis_name = load_weights(weights), AXIS if devices else None
    config, family = loaded.config, family_of(loaded.config)
    # AASIST's losses are compared with those of PyTorch, whose random numbers are others.
    own = {"dropout": DropoutRates(0.0, 0.0, 0.0, 0.0)} if isinstance(config, AASISTConfig) else {}
    network = build_network(config, dtype=jnp.dtype(dtype), axis_name=axis_name, **own)
    optimizer = make_optimizer(OptimConfig(), 10**6, loaded.variables["params"], never_trained(config))
    # A copy: the state is donated to the step.
    state: Any = init_state(jax.tree.map(jnp.array, loaded.variables), optimizer)
    clips: Any = {"wave": noise(batch, window_of(config).samples), "label": labels(batch)}
    if family.loss is not None:
        # What a family's own loss may ask for: all spoofs are of one attack, and all clips of one speaker.
        clips |= {"attack": 1 - clips["label"], "speaker": np.zeros(batch, np.int32)}
    step: Any = make_train_step(network, optimizer, loss=loss_of(family), axis_name=axis_name)
    if not devices:
        step, clips = jax.jit(step, donate_argnums=0), jax.device_put(clips)
    elif devices == jax.device_count():
        step, state, clips = parallel_step(step), replicate(state), batch_to_devices(clips)
    else:
        raise BenchmarkError(f"{devices} devices are asked for, and {jax.device_count()} are there")

    def once() -> np.ndarray:
        nonlocal state
        with jax.default_matmul_precision(precision):
            state, metrics = step(state, clips)
        jax.block_until_ready(state)
        return np.array([float(metrics["loss"])])

    return once
