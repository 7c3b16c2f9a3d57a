"""The throughput of the last steps: there is none before two steps have ended, nor after an evaluation."""

import pytest

from aasist_jax.training.epoch import RATE_STEPS, Throughput


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
