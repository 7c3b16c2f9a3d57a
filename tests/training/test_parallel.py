"""The step over several devices, and over two processes, is the step of one device."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.errors import TrainingError
from aasist_jax.models.aasist.config import DropoutRates
from aasist_jax.models.aasist.network import AASIST
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.training.loss import cross_entropy
from aasist_jax.training.parallel import AXIS, check_batch_size, initialize_hosts, on_host, parallel_step, replicate
from aasist_jax.training.step import init_state, make_train_step
from tests.models.aasist import tiny
from tests.quick_compilation import quick_compilation
from tests.training.two_processes import start_two, wait_for
from tests.training.two_processes_step import (
    STEPS,
    Small,
    make_batch,
    recording_sgd,
    records,
    small_network,
    small_variables,
)

CHILD = Path(__file__).with_name("two_processes_step.py")
Records = dict[str, np.ndarray]


def assert_close(actual: Records, expected: Records, tolerance: float = 1e-9) -> None:
    """Relative to each array's largest value; a gradient that is rounding noise, to the largest gradient."""
    assert actual.keys() == expected.keys()
    largest = max(np.abs(value).max() for path, value in expected.items() if "gradient/" in path)
    for path, value in expected.items():
        scale = np.abs(value).max()
        if "gradient/" in path and scale < 1e-10 * largest:
            scale = largest
        assert np.abs(actual[path] - value).max() <= tolerance * scale, path


def run_steps(model: Callable[[str | None], Any], variables: Any, devices: int, steps: int, samples: int) -> Records:
    """Steps over as many devices; 0 takes plain `jax.jit`."""
    optimizer = recording_sgd()
    results: Records = {}
    with jax.enable_x64(True):
        state = init_state(jax.tree.map(jnp.array, variables), optimizer)
        if devices:
            function = make_train_step(model(AXIS), optimizer, loss=cross_entropy(1), axis_name=AXIS)
            step = parallel_step(function, jax.devices()[:devices])
            if devices == jax.device_count():
                state = replicate(state)
        else:
            step = jax.jit(make_train_step(model(None), optimizer, loss=cross_entropy(1)))
        for i in range(steps):
            batch = make_batch(samples, seed=i)
            if devices:
                batch = {k: v.reshape(devices, -1, *v.shape[1:]) for k, v in batch.items()}
            state, metrics = step(state, batch)
            results |= {f"{i}/{path}": value for path, value in records(state, metrics).items()}
    return results


def run_small(devices: int) -> Records:
    return run_steps(lambda axis: small_network(jnp.float64, axis), small_variables(), devices, STEPS, 300)


@pytest.fixture(scope="module")
def single() -> Records:
    return run_small(0)


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_devices_take_the_step_of_one(single: Records, devices: int) -> None:
    assert_close(run_small(devices), single)


def test_the_comparison_would_see_a_mean_of_the_devices_losses(single: Records) -> None:
    """Sorted labels: four devices hold 0, 0, 1 and 2 bona fide clips, and their own losses average to another."""
    with jax.enable_x64(True):
        batch = make_batch()
        variables = jax.tree.map(jnp.asarray, small_variables())
        outputs, _ = Small(jnp.float64).apply(variables, batch["wave"], train=True, mutable=["batch_stats"])
        log_probability = np.asarray(jax.nn.log_softmax(outputs.logits))
    loss = -np.take_along_axis(log_probability, batch["label"][:, None], 1)[:, 0]
    weights = np.array([0.1, 0.9])[batch["label"]]
    assert single["0/metrics/loss"] == pytest.approx((weights * loss).sum() / weights.sum(), rel=1e-6)
    local = (weights * loss).reshape(4, 2).sum(1) / weights.reshape(4, 2).sum(1)
    assert abs(local.mean() / single["0/metrics/loss"] - 1) > 0.01


@pytest.mark.parametrize(
    "devices", [8, pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_devices_take_the_step_of_one_with_aasist(devices: int) -> None:
    rates = DropoutRates(0.0, 0.0, 0.0, 0.0)
    variables = jax.tree.map(lambda x: x.astype(np.float64) if x.dtype.kind == "f" else x, tiny.random_variables())

    def run(devices: int) -> Records:
        return run_steps(
            lambda axis: LinenNetwork(
                AASIST(tiny.CONFIG, jnp.float64, axis, dropout=rates), tiny.SAMPLES, state=("batch_stats",)
            ),
            variables,
            devices,
            1,
            tiny.SAMPLES,
        )

    with quick_compilation():
        assert_close(run(devices), run(0))


def test_two_processes_take_the_step_of_one(single: Records, tmp_path: Path) -> None:
    with start_two(lambda index, port: [str(CHILD), str(index), str(port), str(tmp_path)]) as processes:
        wait_for(processes, timeout=300)
    one, other = (dict(np.load(tmp_path / f"{index}.npz")) for index in (0, 1))
    assert_close(one, single)
    for path, value in one.items():
        np.testing.assert_array_equal(other[path], value, err_msg=path)


def test_a_copy_on_the_host_outlives_the_donated_state() -> None:
    add = parallel_step(lambda state, batch: (jax.tree.map(lambda x: x + 1, state), jax.lax.psum(batch.sum(), AXIS)))
    state, ones = replicate({"w": np.zeros(1000, np.float32)}), np.ones((jax.device_count(), 1), np.float32)
    kept = []
    for _ in range(5):
        kept.append(on_host(state)["w"])
        state, _ = add(state, ones)
    assert [set(w) for w in kept] == [{0.0}, {1.0}, {2.0}, {3.0}, {4.0}]


def test_an_uneven_batch_is_refused() -> None:
    check_batch_size(32, "batch_size", pieces=2)
    with pytest.raises(TrainingError, match=r"batch_size: 24 clips .* by 8 devices in 2 pieces each"):
        check_batch_size(24, "batch_size", pieces=2)


@pytest.mark.parametrize(("processes", "process_id"), [(0, 0), (2, -1), (2, 2)])
def test_a_coordinator_needs_its_processes(processes: int, process_id: int) -> None:
    with pytest.raises(TrainingError, match=r"--processes N and --process-id I"):
        initialize_hosts("127.0.0.1:1", processes, process_id)
