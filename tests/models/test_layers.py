"""Batch norm and the initialisation of layers by PyTorch's rules."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aasist_jax.models.layers import BatchNorm, Conv, Linear
from tests.conftest import extra
from tests.models.distributions import assert_uniform

torch = extra("torch", "torch")
F = torch.nn.functional


def batch_norm_step(axis_name: str | None = None, dtype: Any = jnp.float64) -> Any:
    """A function (variables, x, g) -> output, new statistics, gradients of sum(g * output) to parameters and x."""
    model = BatchNorm(dtype, axis_name)

    def step(variables: Any, x: Any, g: Any) -> Any:
        def loss(params: Any, x: Any) -> Any:
            y, updates = model.apply(
                {"params": params, "batch_stats": variables["batch_stats"]}, x, train=True, mutable=["batch_stats"]
            )
            return (y * g).sum(), (y, updates["batch_stats"])

        (_, (y, new)), grads = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(variables["params"], x)
        if axis_name:
            grads = (jax.lax.psum(grads[0], axis_name), grads[1])
        return y, new, grads

    return step


def batch_norm_variables(channels: int, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "params": {"scale": rng.normal(size=channels), "bias": rng.normal(size=channels)},
        "batch_stats": {
            "mean": rng.normal(size=channels),
            "var": rng.uniform(0.5, 2, channels),
            "count": np.int32(41),
        },
    }


@pytest.mark.parametrize("shape", [(6, 5), (2, 5), (2, 3, 7, 5), (3, 23, 29, 24)])
def test_batch_norm_equals_pytorch(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    channels = shape[-1]
    variables = batch_norm_variables(channels, rng)
    x, g = rng.normal(2, 3, shape), rng.normal(size=shape)
    reference = (torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d)(channels).double()
    reference.load_state_dict(
        {
            "weight": torch.tensor(variables["params"]["scale"]),
            "bias": torch.tensor(variables["params"]["bias"]),
            "running_mean": torch.tensor(variables["batch_stats"]["mean"]),
            "running_var": torch.tensor(variables["batch_stats"]["var"]),
            "num_batches_tracked": torch.tensor(41),
        }
    )
    channels_first = torch.tensor(np.moveaxis(x, -1, 1)).requires_grad_()
    evaluated = reference.eval()(channels_first).detach()
    expected = reference.train()(channels_first)
    (expected * torch.tensor(np.moveaxis(g, -1, 1))).sum().backward()

    def channels_last(tensor: Any) -> np.ndarray:
        return np.moveaxis(tensor.detach().numpy(), 1, -1)

    with jax.enable_x64(True):
        y, new, (params, dx) = jax.jit(batch_norm_step())(variables, x, g)
        still = BatchNorm(jnp.float64).apply(jax.device_put(variables), jnp.asarray(x), train=False)
    close = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(still, channels_last(evaluated), **close)
    np.testing.assert_allclose(y, channels_last(expected), **close)
    np.testing.assert_allclose(dx, channels_last(channels_first.grad), **close)
    np.testing.assert_allclose(params["scale"], reference.weight.grad, **close)
    np.testing.assert_allclose(params["bias"], reference.bias.grad, **close)
    np.testing.assert_allclose(new["mean"], reference.running_mean, **close)
    np.testing.assert_allclose(new["var"], reference.running_var, **close)
    assert int(new["count"]) == int(reference.num_batches_tracked) == 42
    assert new["count"].dtype == np.int32


def test_the_running_variance_takes_the_unbiased_one() -> None:
    x = jnp.array([[1.0], [3.0]])
    _, new = BatchNorm().apply(
        BatchNorm().init(jax.random.key(0), x, train=False), x, train=True, mutable=["batch_stats"]
    )
    # Biased variance 1, unbiased 2; the running one starts at 1.
    assert float(new["batch_stats"]["var"][0]) == pytest.approx(0.9 + 0.1 * 2)


def test_batch_norm_over_four_devices_equals_one() -> None:
    rng = np.random.default_rng(1)
    variables = batch_norm_variables(5, rng)
    x, g = rng.normal(2, 3, (8, 3, 7, 5)), rng.normal(size=(8, 3, 7, 5))
    devices = jax.devices()[:4]
    assert len(devices) == 4
    with jax.enable_x64(True):
        y, new, (params, dx) = jax.jit(batch_norm_step())(variables, x, g)
        many = jax.pmap(batch_norm_step("batch"), "batch", in_axes=(None, 0, 0), devices=devices)
        y4, new4, (params4, dx4) = many(variables, *(a.reshape(4, 2, 3, 7, 5) for a in (x, g)))
    close = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(np.reshape(y4, y.shape), y, **close)
    np.testing.assert_allclose(np.reshape(dx4, dx.shape), dx, **close)
    for device in range(4):
        one = jax.tree.map(lambda a, device=device: np.asarray(a)[device], (new4, params4))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), one, (new, params))


def test_batch_norm_statistics_are_float32_under_bfloat16() -> None:
    x = jnp.asarray(np.random.default_rng(2).normal(100, 1, (400, 2)), jnp.bfloat16)
    model = BatchNorm(jnp.bfloat16)
    variables = model.init(jax.random.key(0), x, train=False)
    y, new = model.apply(variables, x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    assert new["batch_stats"]["mean"].dtype == new["batch_stats"]["var"].dtype == jnp.float32
    np.testing.assert_allclose(new["batch_stats"]["mean"], np.asarray(x, np.float32).mean(0) / 10, rtol=1e-6)


def test_linear_starts_as_in_pytorch() -> None:
    params = Linear(300).init(jax.random.key(0), jnp.ones((1, 50)))["params"]
    reference = torch.nn.Linear(50, 300)
    assert_uniform(params["kernel"], 50**-0.5)
    assert_uniform(params["bias"], 50**-0.5)
    assert stats.ks_2samp(np.ravel(params["kernel"]), reference.weight.detach().numpy().ravel()).pvalue > 1e-3


def test_conv_starts_as_in_pytorch() -> None:
    params = Conv(64, (2, 3), (1, 1)).init(jax.random.key(0), jnp.ones((1, 4, 4, 8)))["params"]
    reference = torch.nn.Conv2d(8, 64, (2, 3))
    assert_uniform(params["kernel"], (2 * 3 * 8) ** -0.5)
    assert_uniform(params["bias"], (2 * 3 * 8) ** -0.5)
    assert stats.ks_2samp(np.ravel(params["kernel"]), reference.weight.detach().numpy().ravel()).pvalue > 1e-3


def test_statistics_start_at_mean_0_variance_1_count_0() -> None:
    stats = BatchNorm().init(jax.random.key(0), jnp.ones((2, 3)), train=False)["batch_stats"]
    np.testing.assert_array_equal(stats["mean"], np.zeros(3, np.float32))
    np.testing.assert_array_equal(stats["var"], np.ones(3, np.float32))
    assert stats["count"] == 0
    assert stats["count"].dtype == np.int32
