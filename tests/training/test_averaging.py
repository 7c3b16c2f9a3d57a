"""Averages of parameters, and batch-norm statistics estimated anew, against PyTorch's."""

from typing import Any

import jax
import numpy as np
import pytest

from aasist_jax.models.batch_statistics import BATCH_STATISTICS
from aasist_jax.training.averaging import add_to_average, empty_average, estimate_state, make_state_step
from aasist_jax.training.parallel import AXIS, parallel_map
from tests.conftest import extra
from tests.training.two_processes_step import make_batch, small_network, small_variables


def test_the_average_weighs_every_snapshot_alike() -> None:
    rng = np.random.default_rng(0)
    snapshots = [
        {"a": rng.normal(size=(3, 2)).astype(np.float32), "b": {"c": rng.normal(size=4).astype(np.float32)}}
        for _ in range(5)
    ]
    average = empty_average(snapshots[0])
    assert int(average.count) == 0
    for number, snapshot in enumerate(snapshots, start=1):
        average = add_to_average(average, snapshot)
        assert int(average.count) == number
        mean = jax.tree.map(lambda *each: np.mean(np.stack(each), 0, np.float64), *snapshots[:number])
        for ours, expected in zip(jax.tree.leaves(average.params), jax.tree.leaves(mean), strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, expected, atol=3e-7)


def statistics(devices: bool) -> list[Any]:
    """The statistics step on three batches, on one device or on all."""
    variables = small_variables(np.float32)
    batches = [make_batch(seed=i)["wave"].astype(np.float32) for i in range(3)]
    if not devices:
        step = jax.jit(make_state_step(small_network(), BATCH_STATISTICS.start, seed=0, axis_name=None))
        return [step(variables, {"wave": wave, "step": np.array([i])}) for i, wave in enumerate(batches)]
    step = parallel_map(make_state_step(small_network(axis_name=AXIS), BATCH_STATISTICS.start, seed=0, axis_name=AXIS))
    split = [{"wave": wave[:, None], "step": np.full((8, 1), i, np.int32)} for i, wave in enumerate(batches)]
    return [jax.tree.map(lambda x: x[0], step(variables, batch)) for batch in split]


def estimate(variables: Any, each: list[Any]) -> Any:
    state = {"batch_stats": variables["batch_stats"]}
    return estimate_state(state, each, BATCH_STATISTICS.finish)["batch_stats"]


@pytest.mark.parametrize("devices", [False, True])
def test_statistics_are_the_mean_over_batches(devices: bool) -> None:
    """The first batch norm by hand: the mean over batches of their means and of their unbiased variances."""
    variables = small_variables(np.float32)
    result = estimate(variables, statistics(devices))
    conv = variables["params"]["conv1"]
    means, unbiased = [], []
    for i in range(3):
        image = make_batch(seed=i)["wave"].astype(np.float32).astype(np.float64).reshape(8, 5, 60)
        image = np.pad(image, ((0, 0), (0, 0), (1, 1)))
        patches = np.lib.stride_tricks.sliding_window_view(image, (2, 3), (1, 2))
        values = (np.einsum("bfthw,hwd->bftd", patches, conv["kernel"][:, :, 0]) + conv["bias"]).reshape(-1, 4)
        means.append(values.mean(0))
        unbiased.append(values.var(0, ddof=1))
    np.testing.assert_allclose(result["bn1"]["mean"], np.mean(means, 0), rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(result["bn1"]["var"], np.mean(unbiased, 0), rtol=2e-6)
    for norm in ("bn1", "bn2"):
        assert int(result[norm]["count"]) == 3
        assert result[norm]["count"].dtype == np.int32
        assert result[norm]["mean"].dtype == np.float32


def test_statistics_are_those_of_pytorchs_update_bn() -> None:
    torch = extra("torch", "torch")
    rng = np.random.default_rng(1)
    batches = [rng.normal(2 + i, 1 + i, size=(6, 3)) for i in range(4)]
    norm = torch.nn.BatchNorm1d(3).double()
    torch.optim.swa_utils.update_bn([torch.from_numpy(batch) for batch in batches], torch.nn.Sequential(norm))
    target = {"mean": np.zeros(3), "var": np.ones(3), "count": np.int32(99)}
    each = [{"mean": 0.1 * b.mean(0), "var": 0.1 * b.var(0, ddof=1), "count": np.int32(1)} for b in batches]
    ours = estimate_state(target, each, BATCH_STATISTICS.finish)
    np.testing.assert_allclose(ours["mean"], norm.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours["var"], norm.running_var.numpy(), rtol=1e-12)
    assert int(ours["count"]) == int(norm.num_batches_tracked) == 4


def test_no_batch_gives_no_statistics() -> None:
    with pytest.raises(ValueError, match="no batch"):
        estimate_state({"mean": np.zeros(3)}, [], BATCH_STATISTICS.finish)
