"""The order of steps, and their throughput: there is none before two steps have ended, nor after an evaluation."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest

from aasist_jax.data.pipeline import TrainIterator
from aasist_jax.training.epoch import RATE_STEPS, StepRunner, Throughput
from aasist_jax.training.interruption import StopSignals
from aasist_jax.training.reporting import Reporter
from aasist_jax.training.run_folder import RunFolder
from aasist_jax.training.run_log import RunLog
from aasist_jax.training.run_setup import TrainingSetup
from aasist_jax.training.state import RunState


def test_no_rate_before_two_steps_have_ended() -> None:
    throughput = Throughput(8)
    assert (throughput.clips_per_second, throughput.data_wait_share) == (None, None)
    throughput.add(10.0, 5.0)
    assert (throughput.clips_per_second, throughput.data_wait_share) == (None, None)
    throughput.add(12.0, 0.5)
    assert (throughput.clips_per_second, throughput.data_wait_share) == (4.0, 0.25)
    throughput.add(16.0, 1.0)
    assert throughput.clips_per_second == pytest.approx(16 / 6)
    assert throughput.data_wait_share == 0.25
    throughput.restart()
    assert throughput.clips_per_second is None


def test_no_rate_where_the_clock_stood_still() -> None:
    throughput = Throughput(8)
    for _ in range(3):
        throughput.add(1.0, 0.0)
    assert (throughput.clips_per_second, throughput.data_wait_share) == (None, None)


def test_the_rate_is_that_of_the_last_steps() -> None:
    throughput = Throughput(1)
    for second in range(100):
        throughput.add(float(second) ** 2, 0.0)
    assert throughput.clips_per_second == RATE_STEPS / (99.0**2 - (99.0 - RATE_STEPS) ** 2)


def test_on_a_cpu_a_step_is_sent_off_when_the_one_before_has_ended_and_its_batch_is_fetched_meanwhile() -> None:
    events: list[str] = []

    def step_function(state: int, _: Any) -> tuple[int, dict[str, float]]:
        events.append(f"sent {state + 1}")
        return state + 1, {"loss": 1.0, "gradient_norm": 1.0}

    def fetch(_: Any) -> dict[str, np.ndarray]:
        events.append("fetched")
        return {"wave": np.zeros((8, 4), np.float32), "index": np.arange(8)}

    setup = Mock(TrainingSetup, step_function=step_function, clip_numbers={}, total_steps=3, steps_per_epoch=3)
    setup.teacher_function = None
    setup.schedule = lambda _: 0.1
    setup.config = SimpleNamespace(batch_size=8, train_config=SimpleNamespace(log_steps=2, log_batches=False))
    reporter = Mock(Reporter)
    reporter.step.side_effect = lambda number, *_: events.append(f"ended {number}")
    batches = MagicMock(TrainIterator)
    batches.__next__ = fetch
    outside = {"folder": Mock(RunFolder), "log": Mock(RunLog), "stop_signals": Mock(StopSignals)}
    runner = StepRunner(setup, Mock(RunState, train=0, step=0), batches, reporter=reporter, **outside)
    for _ in range(3):
        runner.take_step()
    runner.end_epoch()
    first, second = ["fetched", "sent 1", "fetched"], ["ended 1", "sent 2", "fetched"]
    assert events == [*first, *second, "ended 2", "sent 3", "ended 3"]
