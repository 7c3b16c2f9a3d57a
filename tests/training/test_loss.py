"""The weighted cross-entropy against PyTorch's, whole and in parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.training.loss import weighted_cross_entropy
from tests.conftest import extra

WEIGHTS = (0.1, 0.9)


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=5, size=(9, 2))


LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1], np.int32)


def test_the_ratio_is_pytorchs_loss(logits: np.ndarray) -> None:
    torch = extra("torch", "torch")
    expected = torch.nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS, dtype=torch.float64))(
        torch.from_numpy(logits), torch.from_numpy(LABELS).long()
    )
    with jax.enable_x64(True):
        numerator, denominator = weighted_cross_entropy(jnp.asarray(logits), jnp.asarray(LABELS), WEIGHTS)
        assert float(denominator) == pytest.approx(6 * 0.1 + 3 * 0.9, rel=1e-14)
        assert float(numerator / denominator) == pytest.approx(float(expected), rel=1e-13)


def test_only_the_sums_over_parts_may_be_divided(logits: np.ndarray) -> None:
    with jax.enable_x64(True):
        whole = weighted_cross_entropy(jnp.asarray(logits), jnp.asarray(LABELS), WEIGHTS)
        parts = [
            weighted_cross_entropy(jnp.asarray(logits[i : i + 3]), jnp.asarray(LABELS[i : i + 3]), WEIGHTS)
            for i in (0, 3, 6)
        ]
        loss = float(whole[0] / whole[1])
        assert float(sum(n for n, _ in parts) / sum(d for _, d in parts)) == pytest.approx(loss, rel=1e-13)
        assert abs(np.mean([float(n / d) for n, d in parts]) / loss - 1) > 0.01


def test_large_logits_stay_finite() -> None:
    logits = jnp.array([[1000.0, -1000.0], [-1000.0, 1000.0]])
    numerator, _ = weighted_cross_entropy(logits, jnp.array([1, 1]), (0.5, 0.5))
    assert float(numerator) == 1000.0
