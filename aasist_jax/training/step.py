"""One training step as a pure function, for one device or for several with `jax.pmap`."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array

from aasist_jax.models.network import Loss, Network, RandomKeys, init
from aasist_jax.models.variables import Variables, join_variables, split_variables

Batch = Mapping[str, Array]
Metrics = dict[str, Array]


class TrainState(struct.PyTreeNode):
    """Everything that a step changes. Random numbers depend only on the run's seed and `step`."""

    step: Array
    params: Any
    model_state: Any
    opt_state: Any
    ema: Any = None
    """The moving average of the parameters; None if there is none."""

    @property
    def variables(self) -> Variables:
        """The network's variables, as they are stored."""
        return join_variables(self.params, self.model_state)


def random_variables(config: Any, seed: int) -> Variables:
    """Draw the initial variables of a configured network from a seed."""
    # This runs once and takes less time than its compilation, so optimising it would be slower.
    draw = jax.jit(lambda key: init(key, config), compiler_options={"xla_backend_optimization_level": 0})
    return join_variables(*draw(jax.random.key(seed)))


def init_state(variables: Variables, optimizer: optax.GradientTransformation, *, ema: bool = False) -> TrainState:
    """Make the state before the first step from a network's variables; with `ema` it has a moving average."""
    params, model_state = split_variables(variables)
    average = jax.tree.map(jnp.copy, params) if ema else None
    return TrainState(jnp.zeros((), jnp.int32), params, model_state, optimizer.init(params), average)


def moving_average(average: Any, params: Any, decay: float, step: Array) -> Any:
    """The exponential moving average after a step, which counts from 0: `d * average + (1 - d) * params`.

    `d` is `decay`, or (1 + step) / (10 + step) while that is lower, so that the initial parameters are soon forgotten
    (TensorFlow's `ExponentialMovingAverage` with `num_updates`).
    """
    share = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, p: (a + share * (p - a)).astype(a.dtype), average, params)


def stored_state(state: TrainState) -> dict[str, Any]:
    """The state in the layout of checkpoints, with all variables in one tree; `loaded_state` is the inverse."""
    ema = {} if state.ema is None else {"ema": state.ema}
    return {"step": state.step, "opt_state": state.opt_state, **ema, **state.variables}


def loaded_state(stored: Mapping[str, Any]) -> TrainState:
    """The state from the result of `stored_state`."""
    variables = {kind: tree for kind, tree in stored.items() if kind not in ("step", "opt_state", "ema")}
    params, model_state = split_variables(variables)
    return TrainState(stored["step"], params, model_state, stored["opt_state"], stored.get("ema"))


def make_train_step(
    network: Network,
    optimizer: optax.GradientTransformation,
    *,
    loss: Loss,
    class_weights: tuple[float, float] = (0.1, 0.9),
    accumulation: int = 1,
    seed: int = 0,
    frozen: Collection[str] = (),
    ema: float = 0.0,
    axis_name: str | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Make `step(state, batch) -> (state, metrics)`.

    `batch` is this device's part of the global batch: `wave` float32 (batch, samples), `label` int32 (batch,) and
    optionally `length`, `attack` and `speaker`, int32 (batch,) each. Numerator and denominator of the loss are summed
    over the devices of `axis_name` before the division: `loss` and `gradient_norm` are those of the global batch.

    Args:
        network: the network, built with the same `axis_name`.
        optimizer: the optimizer of the parameters.
        loss: the loss of the family, as `loss_of` gives it.
        class_weights: weights of spoof and bona fide in the loss.
        accumulation: pieces that the device's part is split into; batch norm uses the statistics of each piece alone.
        seed: seed of the random numbers.
        frozen: paths of parameters without gradient, which saves most of the backward pass where the first layers are.
        ema: decay of the moving average, see `moving_average`, if the state has one.
    """

    def weighted_sum(params: Any, model_state: Any, piece: Batch, rng: RandomKeys) -> tuple[Array, Any]:
        params = _stop_gradients(params, frozen)
        outputs, model_state = network.apply(params, model_state, piece["wave"], piece.get("length"), True, rng)
        record = {name: values for name, values in piece.items() if name not in ("wave", "length")}
        numerator, denominator = loss(outputs, record, class_weights)
        return numerator, (denominator, model_state)

    grad_function = jax.value_and_grad(weighted_sum, has_aux=True)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        own_key, shared_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), state.step))
        device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
        pieces = {k: v.reshape(accumulation, -1, *v.shape[1:]) for k, v in batch.items()}
        model_state, sums = state.model_state, list[Any]()
        # A Python loop, not `lax.scan`: XLA's CPU backend runs convolutions inside a loop on one thread only.
        for i in range(accumulation):
            rng = RandomKeys(jax.random.fold_in(jax.random.fold_in(own_key, i), device), shared_key)
            (numerator, (denominator, model_state)), gradient = grad_function(
                state.params, model_state, {k: v[i] for k, v in pieces.items()}, rng
            )
            sums.append((gradient, numerator, denominator))
        total = jax.tree.map(lambda *terms: sum(terms), *sums)
        gradient, numerator, denominator = total if axis_name is None else jax.lax.psum(total, axis_name)
        gradient = jax.tree.map(lambda g: g / denominator.astype(g.dtype), gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": numerator / denominator, "gradient_norm": optax.tree.norm(gradient)}
        average = None if state.ema is None else moving_average(state.ema, params, ema, state.step)
        return TrainState(state.step + 1, params, model_state, opt_state, average), metrics

    return step


def _stop_gradients(params: Any, frozen: Collection[str]) -> Any:
    flat = flatten_dict(params, sep="/")
    return unflatten_dict({k: jax.lax.stop_gradient(v) if k in frozen else v for k, v in flat.items()}, sep="/")
