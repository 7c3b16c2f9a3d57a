"""The distilling loss against plain NumPy, and a teacher of weights that hears what the network hears."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.models.network import Outputs, build_network, score_function
from aasist_jax.training.distillation import distilling, make_teacher, of_length
from aasist_jax.training.loss import cross_entropy
from aasist_jax.training.parallel import batch_to_devices
from aasist_jax.training.step import random_variables
from aasist_jax.weights.folder import Source, load_weights, save_weights
from tests.models import toy

pytestmark = pytest.mark.usefixtures("quickly_compiled", "toy_family")


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_a_mean_of_both(weight: float) -> None:
    rng = np.random.default_rng(0)
    logits, teacher, labels = rng.normal(size=(6, 2)), rng.normal(size=(6, 2)), np.array([0, 1, 0, 0, 1, 0], np.int32)

    def probabilities(values: np.ndarray) -> np.ndarray:
        return np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)

    own, taught, weights = probabilities(logits), probabilities(teacher), np.array([0.2, 0.8])[labels]
    by_label = -(weights * np.log(own[np.arange(6), labels])).sum() / weights.sum()
    by_teacher = (weights * (taught * np.log(taught / own)).sum(axis=1)).sum() / weights.sum()
    with jax.enable_x64(True):
        loss = distilling(cross_entropy(1), 1, weight)
        outputs = Outputs(jnp.asarray(logits), jnp.zeros((6, 1)))
        numerator, denominator = loss(
            outputs, {"label": jnp.asarray(labels), "teacher": jnp.asarray(teacher)}, (0.2, 0.8)
        )
        assert float(numerator / denominator) == pytest.approx((1 - weight) * by_label + weight * by_teacher, rel=1e-12)


def test_windows_of_another_length() -> None:
    waves = jnp.arange(10.0).reshape(2, 5)
    np.testing.assert_array_equal(of_length(waves, 3), waves[:, :3])
    np.testing.assert_array_equal(of_length(waves, 12), np.tile(waves, (1, 3))[:, :12])
    # Behind a clip that is filled up, its zeros are not heard.
    np.testing.assert_array_equal(of_length(waves, 6, jnp.array([2, 4])), [[0, 1, 0, 1, 0, 1], [5, 6, 7, 8, 5, 6]])


@pytest.mark.parametrize("samples", [toy.WINDOW, toy.WINDOW - 7, toy.WINDOW + 7])
def test_a_teacher_gives_the_logits_of_its_weights(tmp_path: Path, samples: int) -> None:
    config = toy.ToyConfig(toy.WINDOW, toy.WIDTH)
    variables = random_variables(config, 3)
    save_weights(tmp_path / "weights", config, jax.tree.map(np.asarray, variables), Source("a test", ""))
    teach, mark = make_teacher(str(tmp_path / "weights"))
    assert mark == load_weights(tmp_path / "weights").weights_id
    devices = jax.device_count()
    waves = np.random.default_rng(1).uniform(-1, 1, (2 * devices, samples)).astype(np.float32)
    batch = batch_to_devices({"wave": waves, "label": np.zeros(2 * devices, np.int32)})
    found = teach(batch)
    assert found.keys() == {"teacher"}
    heard = jnp.asarray(np.tile(waves, (1, 2))[:, : toy.WINDOW])
    expected = score_function(config, build_network(config))(variables, heard)
    np.testing.assert_allclose(np.asarray(found["teacher"]).reshape(-1, 2), expected, rtol=1e-4, atol=1e-5)
