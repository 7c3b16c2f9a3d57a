"""When a checkpoint is due, and which states are fit to be saved."""

import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.training.parallel import replicate
from aasist_jax.training.saving import SaveSchedule, all_finite


def test_due_by_steps() -> None:
    schedule = SaveSchedule(3, 0.0, saved_step=4, now=0.0)
    assert [schedule.is_due(step, 1e9) for step in (4, 5, 6, 7, 8)] == [False, False, False, True, True]
    schedule.note_save(7, 0.0)
    assert [schedule.is_due(step, 1e9) for step in (7, 9, 10)] == [False, False, True]


def test_due_by_minutes() -> None:
    schedule = SaveSchedule(0, 2.0, saved_step=0, now=100.0)
    assert [schedule.is_due(1000, now) for now in (100.0, 219.0, 220.0)] == [False, False, True]
    schedule.note_save(1000, 220.0)
    assert [schedule.is_due(2000, now) for now in (339.0, 340.0)] == [False, True]


def test_never_due_where_both_are_off() -> None:
    assert not SaveSchedule(0, 0.0, saved_step=0, now=0.0).is_due(10**6, 1e9)


def test_a_step_is_saved_once() -> None:
    schedule = SaveSchedule(0, 0.0, saved_step=4, now=0.0)
    assert [schedule.is_saved(step) for step in (4, 5)] == [True, False]
    schedule.note_save(5, 1.0)
    assert schedule.is_saved(5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_state_that_is_not_finite_is_found(bad: float) -> None:
    good = {"w": jnp.ones((2, 3), jnp.bfloat16), "count": jnp.asarray(3), "host": np.zeros(2)}
    assert all_finite(replicate(good))
    for name in ("w", "host"):
        assert not all_finite(replicate(good | {name: jnp.full(2, bad, jnp.bfloat16)}))
