"""Pooling and its gradients: ties and NaN go where PyTorch sends them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.ops.pooling import first_max, max_pool_time
from tests.conftest import extra

pytestmark = pytest.mark.usefixtures("quickly_compiled")

torch = extra("torch", "torch")
F = torch.nn.functional


def values(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(3)
    if kind == "distinct":
        return rng.permutation(np.prod(shape)).reshape(shape) - 0.5 * np.prod(shape)
    if kind == "equal":
        return np.full(shape, -2.0)
    x = rng.integers(0, 3, shape).astype(float)
    if kind == "nan":
        x[rng.uniform(size=shape) < 0.2] = np.nan
    return x


@pytest.mark.parametrize("kind", ["distinct", "ties", "equal", "nan"])
@pytest.mark.parametrize("time", [3, 9, 10, 11])
def test_max_pool_time_equals_pytorch(kind: str, time: int) -> None:
    x = values(kind, (2, 5, time, 4))
    tensor = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    expected = F.max_pool2d(tensor, (1, 3))
    g = np.random.default_rng(4).normal(size=expected.shape)
    (expected * torch.tensor(g)).sum().backward()
    with jax.enable_x64(True):
        actual, pullback = jax.vjp(max_pool_time, jnp.asarray(x))
        (dx,) = pullback(jnp.asarray(g.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(actual, expected.detach().numpy().transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(dx, tensor.grad.numpy().transpose(0, 2, 3, 1))


@pytest.mark.parametrize("kind", ["distinct", "ties", "equal", "nan"])
@pytest.mark.parametrize("axis", [1, 2])
def test_first_max_equals_pytorch(kind: str, axis: int) -> None:
    x = values(kind, (3, 7, 5, 2))
    tensor = torch.tensor(x, requires_grad=True)
    expected = tensor.max(dim=axis).values
    g = np.random.default_rng(5).normal(size=expected.shape)
    (expected * torch.tensor(g)).sum().backward()
    with jax.enable_x64(True):
        actual, pullback = jax.vjp(lambda a: first_max(a, axis), jnp.asarray(x))
        (dx,) = pullback(jnp.asarray(g))
    np.testing.assert_array_equal(actual, expected.detach().numpy())
    np.testing.assert_array_equal(dx, tensor.grad.numpy())
