"""One training step: accumulation, random keys, frozen layers, compute types, and any architecture."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from aasist_jax.config import OptimConfig
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.models.network import Outputs, build_network
from aasist_jax.ops.choice import xla_only
from aasist_jax.training.loss import cross_entropy, weighted_cross_entropy
from aasist_jax.training.optimizer import frozen_by, make_optimizer, never_trained
from aasist_jax.training.parallel import AXIS, parallel_step, replicate
from aasist_jax.training.step import init_state, make_train_step, moving_average
from tests.models import toy
from tests.models.aasist import tiny
from tests.training.two_processes_step import (
    Small,
    make_batch,
    recording,
    recording_sgd,
    small_network,
    small_variables,
)

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def test_the_moving_average_against_its_recursion() -> None:
    """The decay begins at 1 / 10 and grows to what is configured; what the step trains is not changed by it."""
    batch, variables = make_batch(), small_variables()
    with jax.enable_x64(True):
        made = [make_train_step(small_network(jnp.float64), optax.sgd(0.5), loss=cross_entropy(1), ema=0.2)] * 2
        with_ema, without = (jax.jit(step) for step in made)
        state = init_state(variables, optax.sgd(0.5), ema=True)
        plain = init_state(variables, optax.sgd(0.5))
        expected = flatten_dict(variables["params"])
        for decay in (1 / 10, 2 / 11, 0.2, 0.2):
            state, _ = with_ema(state, batch)
            plain, _ = without(plain, batch)
            now = flatten_dict(state.params)
            expected = {path: decay * np.asarray(expected[path]) + (1 - decay) * np.asarray(now[path]) for path in now}
        for path, average in flatten_dict(state.ema).items():
            np.testing.assert_allclose(average, expected[path], rtol=1e-9)  # the decay is float32
            np.testing.assert_array_equal(now[path], flatten_dict(plain.params)[path])
        assert plain.ema is None
    far = moving_average({"w": jnp.float32(1)}, {"w": jnp.float32(3)}, 0.75, jnp.int32(10**6))
    assert (float(far["w"]), far["w"].dtype) == (1.5, jnp.float32)


def test_accumulation_adds_the_pieces_gradients_over_the_whole_denominator() -> None:
    """Written out: the pieces one after another, each normalised by its own statistics."""
    batch, variables, optimizer = make_batch(), small_variables(), recording_sgd()
    with jax.enable_x64(True):
        model = Small(jnp.float64)
        step = jax.jit(make_train_step(small_network(jnp.float64), optimizer, loss=cross_entropy(1), accumulation=2))
        state, metrics = step(init_state(variables, optimizer), batch)

        def numerator(params: Any, stats: Any, wave: Any, label: Any) -> tuple[Any, Any]:
            outputs, updates = model.apply(
                {"params": params, "batch_stats": stats}, wave, train=True, mutable=["batch_stats"]
            )
            return weighted_cross_entropy(outputs.logits, label, (0.1, 0.9))[0], updates["batch_stats"]

        piece = jax.jit(jax.value_and_grad(numerator, has_aux=True))
        stats, values, gradients = variables["batch_stats"], [], []
        for part in (slice(0, 4), slice(4, 8)):
            (value, stats), gradient = piece(variables["params"], stats, batch["wave"][part], batch["label"][part])
            values.append(value)
            gradients.append(gradient)
        denominator = 5 * 0.1 + 3 * 0.9
        expected = jax.tree.map(lambda a, b: (a + b) / denominator, *gradients)
        assert float(metrics["loss"]) == pytest.approx(float(sum(values)) / denominator, rel=1e-12)
        assert float(metrics["gradient_norm"]) == pytest.approx(float(optax.tree.norm(expected)), rel=1e-12)
        largest = max(np.abs(g).max() for g in jax.tree.leaves(expected))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * largest),
            state.opt_state[0],
            expected,
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), state.model_state["batch_stats"], stats)
        assert int(state.model_state["batch_stats"]["bn1"]["count"]) == 2
        assert int(state.step) == 1


class Drawing(nn.Module):
    """Keeps what it draws from its random streams: a row per piece, a column per device."""

    pieces: int
    axis_name: str

    @nn.compact
    def __call__(self, wave: Any, lengths: Any, *, train: bool) -> Outputs:
        devices = jax.device_count()
        count = self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32)
        for stream in ("dropout", "shared"):
            drawn = self.variable("batch_stats", stream, jnp.zeros, (self.pieces, devices))
            value = jax.random.uniform(self.make_rng(stream))
            drawn.value = drawn.value.at[count.value].set(jax.lax.all_gather(value, self.axis_name))
        count.value += 1
        return Outputs(wave[:, :2] * self.param("gain", nn.initializers.ones, (1, 1)), wave)


def test_dropout_differs_by_step_piece_and_device_and_the_mask_by_step_alone() -> None:
    pieces, devices = 2, jax.device_count()
    zeros = np.zeros((pieces, devices), np.float32)
    stats = {"count": np.zeros((), np.int32), "dropout": zeros, "shared": zeros.copy()}
    variables = {"params": {"gain": np.ones((1, 1), np.float32)}, "batch_stats": stats}

    def draw(seed: int) -> list[Any]:
        optimizer = optax.sgd(0.1)
        options = {"accumulation": pieces, "seed": seed, "axis_name": AXIS}
        network = LinenNetwork(Drawing(pieces, AXIS), 3, state=("batch_stats",))
        step = parallel_step(make_train_step(network, optimizer, loss=cross_entropy(1), **options))
        batch = {"wave": np.ones((devices, pieces, 3), np.float32), "label": np.zeros((devices, pieces), np.int32)}
        state, drawn = replicate(init_state(variables, optimizer)), []
        for _ in range(2):
            state, _ = step(state, batch)
            drawn.append(jax.tree.map(np.asarray, state.model_state["batch_stats"]))
            state = state.replace(model_state={"batch_stats": replicate(stats)})
        return drawn

    first, again, other = draw(0), draw(0), draw(1)
    dropout = np.stack([drawn["dropout"] for drawn in [*first, *other]])
    assert len(np.unique(dropout)) == dropout.size == 4 * pieces * devices
    masks = np.stack([drawn["shared"] for drawn in [*first, *other]]).reshape(4, -1)
    assert (masks == masks[:, :1]).all(), "one draw for the whole batch"
    assert len(np.unique(masks)) == 4
    jax.tree.map(np.testing.assert_array_equal, again, first)


def test_frozen_layers_get_no_gradient() -> None:
    variables = small_variables(np.float32)
    frozen = frozen_by(["conv1/*", "bn1/*"], variables["params"])
    step = jax.jit(make_train_step(small_network(), recording(), loss=cross_entropy(1), frozen=frozen))
    state, _ = step(init_state(variables, recording()), make_batch())
    largest = max(np.abs(g).max() for g in jax.tree.leaves(state.opt_state))
    for path, gradient in flatten_dict(state.opt_state, sep="/").items():
        if path in frozen:
            assert not np.asarray(gradient).any(), path
        elif not path.startswith("conv2/bias"):
            assert np.abs(gradient).max() > 1e-4 * largest, path


def test_no_backward_pass_runs_through_a_frozen_encoder() -> None:
    variables = small_variables(np.float32)
    batch = jax.tree.map(jnp.asarray, make_batch())

    def work(frozen: set[str]) -> float:
        step = make_train_step(small_network(), optax.sgd(0.1), loss=cross_entropy(1), frozen=frozen)
        # XLA does not know what is in a kernel of ours.
        leaves, tree = jax.tree.flatten(init_state(variables, optax.sgd(0.1)))
        with xla_only():
            lowered = jax.jit(lambda leaves: step(tree.unflatten(leaves), batch)).lower(leaves)
        return float(lowered.compile().cost_analysis()["flops"])

    whole = work(set())
    assert work(frozen_by(["conv1/*", "bn1/*"], variables["params"])) < 0.8 * whole
    # What is left is the forward pass.
    assert work(frozen_by(["conv*", "bn*"], variables["params"])) < 0.5 * whole


def dtypes(state: Any) -> list[Any]:
    return [leaf.dtype for leaf in jax.tree.leaves(state)]


def test_bfloat16_computes_and_float32_stores() -> None:
    variables = small_variables(np.float32)
    optimizer = make_optimizer(OptimConfig(), 10, variables["params"], lambda path: False)
    losses = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        step = jax.jit(make_train_step(small_network(dtype), optimizer, loss=cross_entropy(1)))
        state = init_state(variables, optimizer)
        after, metrics = step(state, make_batch())
        losses[dtype] = float(metrics["loss"])
        assert metrics["loss"].dtype == jnp.float32
        kinds = {leaf.dtype for leaf in jax.tree.leaves(after)}
        assert kinds == {np.dtype(np.float32), np.dtype(np.int32)}
        assert dtypes(after) == dtypes(state)
    assert losses[jnp.bfloat16] != losses[jnp.float32]
    assert losses[jnp.bfloat16] == pytest.approx(losses[jnp.float32], rel=0.02)


def test_aasist_in_bfloat16_keeps_the_types_of_its_state() -> None:
    variables = jax.device_put(tiny.random_variables())
    optimizer = make_optimizer(OptimConfig(), 10, variables["params"], never_trained(tiny.CONFIG))
    step = make_train_step(build_network(tiny.CONFIG, dtype=jnp.bfloat16), optimizer, loss=cross_entropy(1))
    state = init_state(variables, optimizer)

    def leaves(batch: Any) -> Any:
        after, metrics = step(state, batch)
        return jax.tree.leaves(after), metrics["loss"]

    after, loss = jax.eval_shape(leaves, make_batch(tiny.SAMPLES))
    assert dtypes(after) == dtypes(state)
    assert loss.dtype == jnp.float32


def test_a_strangers_family_learns() -> None:
    """The toy is told apart by loudness alone, and registered without a change to the package."""
    with toy.registered():
        weights = toy.toy_weights()
        params = weights.variables["params"]
        params["judge"]["kernel"] *= 0
        optimizer = make_optimizer(OptimConfig(base_lr=0.05), 100, params, never_trained(weights.config))
        step = parallel_step(
            make_train_step(
                build_network(weights.config, axis_name=AXIS), optimizer, loss=cross_entropy(1), axis_name=AXIS
            )
        )
    state = replicate(init_state(weights.variables, optimizer))
    batch = make_batch(toy.WINDOW)
    batch = {"wave": batch["wave"].astype(np.float32)[:, None], "label": batch["label"][:, None]}
    losses = []
    for _ in range(10):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[0] == pytest.approx(np.log(2))
    assert losses[-1] < 0.5 * losses[0]
    assert int(state.step) == 10
    assert int(state.model_state["batch_stats"]["norm"]["count"]) == 13
