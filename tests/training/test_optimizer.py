"""Adam with L2 against PyTorch's, the schedule against its formula, and frozen parameters."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from aasist_jax.config import OptimConfig
from aasist_jax.errors import TrainingError
from aasist_jax.training.optimizer import check_rates, frozen_by, learning_rate, make_optimizer, never_trained
from tests.conftest import extra
from tests.models.aasist import tiny

CONFIG = OptimConfig(base_lr=3e-2, lr_min=1e-3, betas=(0.8, 0.95), weight_decay=0.02)
TOTAL = 7


def flat(tree: Any) -> dict[str, np.ndarray]:
    return {path: np.asarray(value) for path, value in flatten_dict(tree, sep="/").items()}


def test_the_schedule_is_half_a_cosine() -> None:
    with jax.enable_x64(True):
        schedule = learning_rate(CONFIG, TOTAL)
        for step in range(TOTAL + 3):
            cosine = math.cos(math.pi * min(step, TOTAL) / TOTAL)
            expected = CONFIG.lr_min + (CONFIG.base_lr - CONFIG.lr_min) * (1 + cosine) / 2
            assert float(schedule(step)) == pytest.approx(expected, rel=1e-12)
    constant = learning_rate(OptimConfig(base_lr=0.5, scheduler="constant"), TOTAL)
    assert {float(constant(step)) for step in range(TOTAL)} == {0.5}


def test_the_optimizer_is_pytorchs_adam_with_weight_decay() -> None:
    torch = extra("torch", "torch")
    rng = np.random.default_rng(0)
    params = {"a": {"kernel": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)}, "b": rng.normal(size=5)}
    gradients = [jax.tree.map(lambda p: rng.normal(size=p.shape), params) for _ in range(TOTAL)]
    theirs = {path: torch.nn.Parameter(torch.tensor(value)) for path, value in flat(params).items()}
    adam = torch.optim.Adam(theirs.values(), lr=1.0, betas=CONFIG.betas, weight_decay=CONFIG.weight_decay)

    with jax.enable_x64(True):
        optimizer = make_optimizer(CONFIG, TOTAL, params, lambda path: False)
        state, ours = optimizer.init(params), params
        update = jax.jit(optimizer.update)
        for step, gradient in enumerate(gradients):
            cosine = math.cos(math.pi * step / TOTAL)
            adam.param_groups[0]["lr"] = CONFIG.lr_min + (CONFIG.base_lr - CONFIG.lr_min) * (1 + cosine) / 2
            for path, value in flat(gradient).items():
                theirs[path].grad = torch.tensor(value)
            adam.step()
            updates, state = update(gradient, state, ours)
            ours = optax.apply_updates(ours, updates)
            for path, value in flat(ours).items():
                np.testing.assert_allclose(value, theirs[path].detach().numpy(), rtol=1e-11, atol=1e-13)


def test_frozen_parameters_and_the_unused_batch_norm_stay_to_the_bit() -> None:
    params = tiny.random_variables()["params"]
    untouched = never_trained(tiny.CONFIG)
    frozen = frozen_by(["encoder/block1/conv1/*", "*/att_proj*/bias"], params)
    optimizer = make_optimizer(CONFIG, TOTAL, params, lambda path: untouched(path) or path in frozen)
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, state = jax.jit(optimizer.update)(gradient, optimizer.init(params), params)
    before, after = flat(params), flat(optax.apply_updates(params, updates))
    kept = {path for path in before if np.array_equal(before[path], after[path])}
    unused = {path for path in before if "/bn1/" in path}
    # Block 1 has no bn1.
    assert len(unused) == 5 * 2
    assert len(frozen) > 2
    assert kept == frozen | unused
    # And no moments are kept for them: two for each of the others.
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim > 0]
    assert len(moments) == 2 * (len(before) - len(kept))


def test_layers_have_rates_of_their_own() -> None:
    """Three steps of each layer are those of a plain Adam with its rate; of two patterns the first counts."""
    rng = np.random.default_rng(0)
    params = {name: {"kernel": rng.normal(size=3), "bias": rng.normal(size=2)} for name in ("low", "mid", "top")}
    config = dataclasses.replace(CONFIG, rates=(("low/bias", 3.0), ("low/*", 0.1), ("mid/*", 0.5)))
    factors = {
        "low/bias": 3.0,
        "low/kernel": 0.1,
        "mid/bias": 0.5,
        "mid/kernel": 0.5,
        "top/bias": 1.0,
        "top/kernel": 0.0,
    }
    gradients = [jax.tree.map(lambda p: rng.normal(size=p.shape), params) for _ in range(3)]
    with jax.enable_x64(True):
        optimizer = make_optimizer(config, TOTAL, params, lambda path: path == "top/kernel")
        state, ours = optimizer.init(params), params
        update = jax.jit(optimizer.update)
        for gradient in gradients:
            updates, state = update(gradient, state, ours)
            ours = optax.apply_updates(ours, updates)
        for path, factor in factors.items():
            value, moment, square = flat(params)[path], 0.0, 0.0
            for step, gradient in enumerate(gradients):
                total = flat(gradient)[path] + CONFIG.weight_decay * value
                moment = 0.8 * moment + 0.2 * total
                square = 0.95 * square + 0.05 * total**2
                rate = CONFIG.lr_min + (CONFIG.base_lr - CONFIG.lr_min) * (1 + math.cos(math.pi * step / TOTAL)) / 2
                unbiased = moment / (1 - 0.8 ** (step + 1)), square / (1 - 0.95 ** (step + 1))
                value = value - factor * rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
            np.testing.assert_allclose(flat(ours)[path], value, rtol=1e-11)
    with pytest.raises(TrainingError, match=r"rates: 'middle/\*' matches no parameter; names are such as 'low/kernel'"):
        check_rates(dataclasses.replace(CONFIG, rates=(("low/*", 0.1), ("middle/*", 0.5))), params)


def test_patterns_name_parameters() -> None:
    params = {"encoder": {"conv": {"kernel": 0, "bias": 0}}, "out": {"bias": 0}}
    assert frozen_by([], params) == set()
    assert frozen_by(["encoder/*"], params) == {"encoder/conv/kernel", "encoder/conv/bias"}
    assert frozen_by(["*/bias"], params) == {"encoder/conv/bias", "out/bias"}
    assert frozen_by(["out/*", "*/kernel"], params) == {"encoder/conv/kernel", "out/bias"}
    with pytest.raises(TrainingError, match=r"freeze: 'decoder/\*' matches no parameter; names are such as 'encoder/"):
        frozen_by(["out/*", "decoder/*"], params)
    with pytest.raises(TrainingError, match="nothing is left to train"):
        frozen_by(["encoder/*", "out/*"], params)
