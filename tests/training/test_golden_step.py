"""One training step, and three optimizer steps, against the official PyTorch model in float64."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aasist_jax.config import OptimConfig, parse_model_config
from aasist_jax.models.aasist.config import DropoutRates
from aasist_jax.models.aasist.network import AASIST
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.training.loss import cross_entropy
from aasist_jax.training.optimizer import learning_rate, make_optimizer, never_trained
from aasist_jax.training.step import init_state, make_train_step
from aasist_jax.weights.names import from_torch, to_torch
from aasist_jax.weights.torch_file import read_torch_file
from tests.conftest import REFERENCE
from tests.models.aasist.goldens import (
    TrainGolden,
    golden_names,
    has_noise_gradient,
    read_train_golden,
    relative_error,
)
from tests.quick_compilation import QUICK

pytestmark = pytest.mark.reference


def recording() -> optax.GradientTransformation:
    """Keep the gradient as the optimizer's state, and pass it on."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params), lambda gradient, state, params=None: (gradient, gradient)
    )


class Steps(NamedTuple):
    golden: TrainGolden
    losses: list[float]
    learning_rates: list[float]
    gradients: dict[str, np.ndarray]
    """Of the first step."""
    states: list[dict[str, np.ndarray]]
    """Parameters and buffers after each step, under PyTorch's names."""


@pytest.fixture(scope="module", params=golden_names(REFERENCE, "train") if REFERENCE.is_dir() else ["none"])
def steps(request: pytest.FixtureRequest) -> Steps:
    golden = read_train_golden(REFERENCE, request.param)
    hyper = golden.hyper
    config = parse_model_config(golden.config, request.param)
    optim = OptimConfig(
        base_lr=hyper["base_lr"],
        lr_min=hyper["lr_min"],
        betas=tuple(hyper["betas"]),
        weight_decay=hyper["weight_decay"],
    )

    def named(params: Any, model_state: Any) -> dict[str, np.ndarray]:
        return to_torch(config, jax.tree.map(np.asarray, {"params": params, **model_state}))

    with jax.enable_x64(True):
        variables = from_torch(config, read_torch_file(golden.weights))
        wide = jax.tree.map(lambda x: jnp.asarray(x, np.float64 if x.dtype.kind == "f" else x.dtype), variables)
        adam = make_optimizer(optim, hyper["total_steps"], wide["params"], never_trained(config))
        optimizer = optax.chain(recording(), adam)
        model = AASIST(config, dtype=jnp.float64, dropout=DropoutRates(0.0, 0.0, 0.0, 0.0))
        network = LinenNetwork(model, config.nb_samp, state=("batch_stats",))
        step = jax.jit(
            make_train_step(network, optimizer, loss=cross_entropy(1), class_weights=tuple(hyper["ce_weights"])),
            compiler_options=QUICK,
        )
        batch = {"wave": jnp.asarray(golden.wave), "label": jnp.asarray(golden.labels, jnp.int32)}

        state, losses, states, gradients = init_state(wide, optimizer), [], [], {}
        for i in range(3):
            state, metrics = step(state, batch)
            losses.append(float(metrics["loss"]))
            states.append(named(state.params, state.model_state))
            if i == 0:
                gradients = named(state.opt_state[0], state.model_state)
        schedule = learning_rate(optim, hyper["total_steps"])
        return Steps(golden, losses, [float(schedule(i)) for i in range(3)], gradients, states)


def test_loss_and_learning_rate(steps: Steps) -> None:
    assert steps.losses[0] == pytest.approx(steps.golden.losses[0], rel=1e-9)
    np.testing.assert_allclose(steps.losses, steps.golden.losses, rtol=1e-6)
    np.testing.assert_allclose(steps.learning_rates, steps.golden.learning_rates, rtol=1e-9)


def test_every_gradient(steps: Steps) -> None:
    compared = 0
    for name, expected in steps.golden.gradients.items():
        if expected is None:
            assert not steps.gradients[name].any(), f"{name}: PyTorch has no gradient there"
        elif has_noise_gradient(name):
            largest = max(np.abs(g).max() for g in steps.golden.gradients.values() if g is not None)
            assert np.abs(steps.gradients[name]).max() < 1e-9 * largest, name
        else:
            error = relative_error(steps.gradients[name], expected)
            assert error < 1e-9, f"{name}: {error:.2g}"
            compared += 1
    assert compared > 0.8 * len(steps.golden.gradients)


def test_every_running_statistic(steps: Steps) -> None:
    assert len(steps.golden.buffers_after_step1) > 0
    for name, expected in steps.golden.buffers_after_step1.items():
        error = relative_error(steps.states[0][name], expected)
        assert error < 1e-9, f"{name}: {error:.2g}"


@pytest.mark.parametrize(("step", "golden"), [(0, "params_after_step1"), (2, "state_after_step3")])
def test_parameters_after_adam(steps: Steps, step: int, golden: str) -> None:
    compared = 0
    for name, expected in getattr(steps.golden, golden).items():
        # Adam turns a gradient of pure rounding noise into a step of full size: nothing to compare there.
        if has_noise_gradient(name) or "running_" in name or "num_batches" in name:
            continue
        error = relative_error(steps.states[step][name], expected)
        assert error < 1e-6, f"{name}: {error:.2g}"
        compared += 1
    assert compared > 50
