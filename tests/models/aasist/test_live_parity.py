"""Random models of random shapes against an independent PyTorch AASIST, forward and gradient, in float64."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from aasist_jax.config import to_json
from aasist_jax.models.aasist.config import AASISTConfig, DropoutRates
from aasist_jax.models.aasist.network import AASIST
from aasist_jax.weights.names import from_torch
from tests.conftest import extra

torch = extra("torch", "torch")

from benchmarks.torch_aasist import TorchAASIST
from tests.quick_compilation import QUICK

CLASS_WEIGHTS = np.array([0.1, 0.9])
BAR = 1e-9


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one framework makes of a model and a batch; parameters and statistics by Flax paths."""

    last_hidden: np.ndarray
    logits: np.ndarray
    train_logits: np.ndarray
    loss: float
    gradients: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a configuration; it is made in the test, as the checker of types rolls dice of its own."""
    channels = st.integers(1, 5)
    one, two, three = draw(channels), draw(channels), draw(channels)
    ratio, heat = st.floats(0.01, 1), st.sampled_from([0.5, 2.0, 100.0])
    first_conv = draw(st.integers(1, 20))
    shortest = first_conv - first_conv % 2 + 3**7
    return {
        "nb_samp": shortest + draw(st.one_of(st.just(0), st.integers(1, 2 * 3**7))),
        "first_conv": first_conv,
        "filts": (draw(st.integers(3, 14)), (1, one), (one, two), (two, three), (three, three)),
        "gat_dims": (draw(st.integers(1, 6)), draw(st.integers(1, 6))),
        "pool_ratios": (draw(ratio), draw(ratio), draw(ratio), 0.5),
        "temperatures": (draw(heat), draw(heat), draw(heat), 1.0),
    }


def random_torch_model(config: AASISTConfig, seed: int) -> Any:
    torch.manual_seed(seed)
    model = TorchAASIST(to_json(config)).double()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif name.endswith("num_batches_tracked"):
                tensor.random_(0, 1000)
            elif "bn" in name:
                # Scales of either sign, so that a maximum and a minimum are not the same thing.
                tensor.normal_()
    return model


def torch_outcome(config: AASISTConfig, model: Any, wave: np.ndarray, labels: np.ndarray) -> Outcome:
    with torch.no_grad():
        last_hidden, logits = model.eval()(torch.tensor(wave))
    model.train().set_dropout(0)
    _, train_logits = model(torch.tensor(wave))
    loss = torch.nn.functional.cross_entropy(train_logits, torch.tensor(labels), torch.tensor(CLASS_WEIGHTS))
    loss.backward()
    state = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    statistics = flatten_dict(from_torch(config, state)["batch_stats"], sep="/")
    # PyTorch gives bn1, whose output is thrown away, no gradient at all; that is zero.
    state |= {
        name: np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()
        for name, parameter in model.named_parameters()
    }
    gradients = flatten_dict(from_torch(config, state)["params"], sep="/")
    return Outcome(
        last_hidden.numpy(), logits.numpy(), train_logits.detach().numpy(), loss.item(), gradients, statistics
    )


def flax_outcome(config: AASISTConfig, variables: dict[str, Any], wave: np.ndarray, labels: np.ndarray) -> Outcome:
    model = AASIST(config, dtype=jnp.float64, dropout=DropoutRates(0.0, 0.0, 0.0, 0.0))

    def train_loss(params: Any, stats: Any, wave: Any, labels: Any) -> Any:
        outputs, updates = model.apply(
            {"params": params, "batch_stats": stats}, wave, train=True, mutable=["batch_stats"]
        )
        weights = jnp.asarray(CLASS_WEIGHTS)[labels]
        losses = -jnp.take_along_axis(jax.nn.log_softmax(outputs.logits), labels[:, None], 1)[:, 0]
        return (weights * losses).sum() / weights.sum(), (outputs.logits, updates["batch_stats"])

    # Unoptimised: the same program, compiled in a fraction of the time.
    @functools.partial(jax.jit, compiler_options=QUICK)
    def both_modes(variables: Any, wave: Any, labels: Any) -> Any:
        grad = jax.value_and_grad(train_loss, has_aux=True)
        return model.apply(variables, wave), grad(variables["params"], variables["batch_stats"], wave, labels)

    outputs, ((loss, (train_logits, stats)), gradients) = jax.tree.map(np.asarray, both_modes(variables, wave, labels))
    flat = (flatten_dict(tree, sep="/") for tree in (gradients, stats))
    return Outcome(outputs.embedding, outputs.logits, train_logits, float(loss), *flat)


def error(actual: np.ndarray, expected: np.ndarray, floor: float = 0.0) -> float:
    """Greatest difference over the greatest magnitude, which counts as `floor` at least."""
    assert actual.dtype == expected.dtype or actual.dtype.kind == "i"
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), floor, 1e-300))


def check_parity(config: AASISTConfig, batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wave = rng.standard_normal((batch, config.nb_samp))
    labels = rng.integers(0, 2, batch)
    model = random_torch_model(config, seed)
    variables = from_torch(config, {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()})
    expected = torch_outcome(config, model, wave, labels)
    with jax.enable_x64(True):
        actual = flax_outcome(config, variables, wave, labels)

    for name in ("last_hidden", "logits", "train_logits"):
        assert error(getattr(actual, name), getattr(expected, name)) < BAR, name
    assert actual.loss == pytest.approx(expected.loss, rel=BAR)
    assert actual.statistics.keys() == expected.statistics.keys()
    for path, value in expected.statistics.items():
        assert error(actual.statistics[path], value) < BAR, path
    assert actual.gradients.keys() == expected.gradients.keys()
    # A bias that a batch norm cancels has a gradient of rounding noise: it is measured by the largest gradient.
    noise = 1e-3 * max(np.abs(value).max() for value in expected.gradients.values())
    for path, value in expected.gradients.items():
        assert error(actual.gradients[path], value, noise) < BAR, path
        assert "/bn1/" not in path or not actual.gradients[path].any(), "its output is thrown away"


def examples(count: int) -> Any:
    # Every example compiles a model: no shrinking, no deadline.
    return settings(
        max_examples=count,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


ANY = {"config": configs(), "batch": st.integers(2, 4), "seed": st.integers(0, 2**31)}


# The first that is generated is the least of all: one temporal node, one channel, one tap.
@examples(2)
@given(**ANY)
@example(
    config={
        "nb_samp": 3 * 3**7 + 100,
        "first_conv": 16,
        "filts": (12, (1, 4), (4, 4), (4, 6), (6, 6)),
        "gat_dims": (5, 3),
        "pool_ratios": (0.4, 0.7, 0.6, 0.5),
        "temperatures": (2.0, 3.0, 100.0, 1.0),
    },
    batch=3,
    seed=1,
)
def test_a_random_model_equals_pytorch(config: dict[str, Any], batch: int, seed: int) -> None:
    check_parity(AASISTConfig(**config), batch, seed)


@pytest.mark.slow
@examples(40)
@given(**ANY)
def test_many_random_models_equal_pytorch(config: dict[str, Any], batch: int, seed: int) -> None:
    check_parity(AASISTConfig(**config), batch, seed)


def test_float64_leaks_into_no_other_test() -> None:
    assert jnp.zeros(1).dtype == jnp.float32
    assert not jax.config.jax_enable_x64
