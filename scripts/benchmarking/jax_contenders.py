"""Our own side."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aasist_jax.config import OptimConfig
from aasist_jax.detection.detector import Detector
from aasist_jax.models.aasist.network import AASIST, DropoutRates
from aasist_jax.models.family import model_logits
from aasist_jax.training.optimizer import make_optimizer
from aasist_jax.training.step import init_state, make_train_step
from aasist_jax.weights.folder import Weights

Call = Callable[[], np.ndarray]
NO_DROPOUT = DropoutRates(graph=0.0, pool=0.0, branch=0.0, output=0.0)


def jax_inference(weights: Weights, wave: np.ndarray, dtype: Any = jnp.float32) -> Call:
    """Make a call that gives the logits of a batch, in one piece, as the other contenders compute it."""
    detector = Detector(weights, dtype=dtype)
    return lambda: detector.batch_logits(wave)


def lowered_inference(weights: Weights, batch: int) -> Any:
    """Trace and lower the model for a batch size; not compiled yet."""
    detector = Detector(weights)
    wave = jax.ShapeDtypeStruct((batch, detector.window), jnp.float32)
    with jax.default_matmul_precision("highest"):
        return jax.jit(lambda wave: model_logits(detector.model, detector.variables, wave)).lower(wave)


def resident_inference(weights: Weights, wave: np.ndarray) -> Call:
    """Make a call for a batch that is on the device already: what the ceilings of the device are held against."""
    with jax.default_matmul_precision("highest"):
        run = lowered_inference(weights, len(wave)).compile()
    placed = jax.device_put(wave)
    return lambda: np.asarray(run(placed))


def training_state(weights: Weights, dtype: Any = jnp.float32, **options: Any) -> tuple[Any, Any]:
    """Make the step that `scripts/train.py` takes, without dropout, and the state it begins with."""
    axis_name = options.get("axis_name")
    model = AASIST(weights.config, dtype=dtype, axis_name=axis_name, dropout=NO_DROPOUT)
    optimizer = make_optimizer(OptimConfig(), 10**6, weights.variables["params"], lambda path: "/bn1/" in path)
    # A copy: the state is donated to the step.
    state = init_state(jax.tree.map(jnp.array, weights.variables), optimizer)
    return make_train_step(model, optimizer, **options), state


def jax_training(
    weights: Weights, wave: np.ndarray, label: np.ndarray, dtype: Any = jnp.float32, precision: str | None = "highest"
) -> Call:
    """Make a call that takes a step and gives the loss; `precision` None is the device's default, TF32 on a GPU."""
    function, state = training_state(weights, dtype)
    step = jax.jit(function, donate_argnums=0)
    batch = jax.device_put({"wave": wave, "label": label})

    def once() -> np.ndarray:
        nonlocal state
        with jax.default_matmul_precision(precision):
            state, metrics = step(state, batch)
        jax.block_until_ready(state)
        return np.array([float(metrics["loss"])])

    return once
