"""One training step as a pure function, for one device or for many under `jax.pmap`."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array

from aasist_jax.models.family import build_model
from aasist_jax.training.loss import weighted_cross_entropy

Batch = Mapping[str, Array]
Metrics = dict[str, Array]


class TrainState(struct.PyTreeNode):
    """All that a step changes. Random numbers follow from the run's seed and `step`."""

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any


def random_variables(config: Any, seed: int) -> dict[str, Any]:
    """Draw a model's first variables (`params`, `batch_stats`) from a seed."""
    model = build_model(config)

    def init(key: Array) -> dict[str, Any]:
        variables = model.init(key, jnp.zeros((1, config.nb_samp)))
        return {k: variables[k] for k in ("params", "batch_stats")}

    # Run once, so not worth optimising: compiling it is nearly all of the time it takes.
    return jax.jit(init, compiler_options={"xla_backend_optimization_level": 0})(jax.random.key(seed))


def init_state(variables: Mapping[str, Any], optimizer: optax.GradientTransformation) -> TrainState:
    """Start from a model's variables."""
    params = variables["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, variables["batch_stats"], optimizer.init(params))


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    class_weights: tuple[float, float] = (0.1, 0.9),
    freq_aug: bool = False,
    accumulation: int = 1,
    seed: int = 0,
    frozen: Collection[str] = (),
    axis_name: str | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Make `step(state, batch) -> (state, metrics)`.

    A batch has `wave` float32 (batch, samples) and `label` int32 (batch,), this device's part of the global batch. The
    loss is the weighted cross-entropy of the *global* batch: numerator and denominator are summed over the devices
    of `axis_name`. Every device ends with the same state. Metrics: `loss` and `gradient_norm`, of the global batch.

    With `accumulation`, the part is cut in as many pieces that run one after another; the gradient is the
    same sum, but batch norm sees one piece at a time. No gradient is computed for the parameters whose paths are
    `frozen`; where they are the first layers, most of the backward pass falls away.
    """

    def over_devices(x: Any) -> Any:
        return x if axis_name is None else jax.lax.psum(x, axis_name)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        dropout_key, mask_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), state.step))
        device = 0 if axis_name is None else jax.lax.axis_index(axis_name)

        def weighted_sum(params: Any, batch_stats: Any, piece: Batch, index: int) -> tuple[Array, Any]:
            # Dropout differs between pieces and devices; the masked filters are one draw for the whole batch.
            piece_key = jax.random.fold_in(dropout_key, index)
            rngs = {"dropout": jax.random.fold_in(piece_key, device), "freq_aug": mask_key}
            (_, logits), updates = model.apply(
                {"params": _stop_gradients(params, frozen), "batch_stats": batch_stats},
                piece["wave"],
                train=True,
                freq_aug=freq_aug,
                rngs=rngs,
                mutable=["batch_stats"],
            )
            numerator, denominator = weighted_cross_entropy(logits, piece["label"], class_weights)
            return numerator, (denominator, updates["batch_stats"])

        pieces = {k: batch[k].reshape(accumulation, -1, *batch[k].shape[1:]) for k in ("wave", "label")}
        batch_stats = state.batch_stats
        sums = []
        # Unrolled, not scanned: XLA's CPU backend runs the convolutions of a loop on one thread.
        for i in range(accumulation):
            piece = {k: v[i] for k, v in pieces.items()}
            grad_function = jax.value_and_grad(weighted_sum, has_aux=True)
            (numerator, (denominator, batch_stats)), gradient = grad_function(state.params, batch_stats, piece, i)
            sums.append((gradient, numerator, denominator))
        gradient, numerator, denominator = over_devices(jax.tree.map(lambda *terms: sum(terms), *sums))
        gradient = jax.tree.map(lambda g: g / denominator.astype(g.dtype), gradient)
        loss = numerator / denominator

        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "gradient_norm": optax.tree.norm(gradient)}
        return TrainState(state.step + 1, params, batch_stats, opt_state), metrics

    return step


def _stop_gradients(params: Any, frozen: Collection[str]) -> Any:
    flat = flatten_dict(params, sep="/")
    return unflatten_dict({k: jax.lax.stop_gradient(v) if k in frozen else v for k, v in flat.items()}, sep="/")
