"""What a checkpoint holds of a run: everything that a run changes, and it is taken up again to the bit."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aasist_jax.models.variables import join_variables, split_variables
from aasist_jax.training.averaging import add_to_average
from aasist_jax.training.parallel import on_host
from aasist_jax.training.state import RunState, first_state
from aasist_jax.training.step import init_state, loaded_state, stored_state


def make_state(value: float) -> RunState:
    variables = join_variables({"w": jnp.full(3, value)}, {"mean": jnp.full(2, -value)})
    return first_state(init_state(variables, optax.adam(0.1)), variables)


def test_variables_are_parameters_and_model_state() -> None:
    variables = on_host(make_state(2.0).train.variables)
    params, model_state = split_variables(variables)
    np.testing.assert_equal(params, {"w": np.full(3, 2.0, np.float32)})
    np.testing.assert_equal(model_state, {"mean": np.full(2, -2.0, np.float32)})
    np.testing.assert_equal(join_variables(params, model_state), variables)


def test_a_checkpoint_holds_parameters_and_model_state_side_by_side() -> None:
    state = make_state(2.0).train
    stored = stored_state(state)
    assert set(stored) == {"step", "opt_state", "params", "mean"}
    assert jax.tree.structure(loaded_state(stored)) == jax.tree.structure(state)
    for loaded, original in zip(jax.tree.leaves(loaded_state(stored)), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(loaded, original)


def test_a_checkpoint_holds_the_moving_average_if_there_is_one() -> None:
    variables = join_variables({"w": jnp.full(3, 2.0)}, {"mean": jnp.zeros(2)})
    state = init_state(variables, optax.adam(0.1), ema=True)
    stored = stored_state(state)
    assert set(stored) == {"step", "opt_state", "ema", "params", "mean"}
    assert jax.tree.structure(loaded_state(stored)) == jax.tree.structure(state)
    np.testing.assert_array_equal(loaded_state(stored).ema["w"], np.full(3, 2.0))


def test_a_run_is_taken_up_as_it_was_saved() -> None:
    saved = make_state(2.0)
    saved.step, saved.evaluated_epochs, saved.history = 7, 2, [{"epoch": 1, "dev_eer": 0.5}, {"epoch": 2}]
    saved.candidates = dataclasses.replace(
        saved.candidates,
        average=add_to_average(saved.candidates.average, {"w": np.full(3, 5.0, np.float32)}),
        best_epoch=2,
        best_dev_eer=0.25,
    )
    progress = json.loads(json.dumps(saved.progress(), allow_nan=False))
    taken_up = make_state(0.0)
    taken_up.take_up(7, saved.arrays(), progress)
    assert (taken_up.step, taken_up.evaluated_epochs, taken_up.history) == (7, 2, saved.history)
    assert (taken_up.candidates.best_epoch, taken_up.candidates.best_dev_eer) == (2, 0.25)
    assert taken_up.candidates.best_eval_tdcf == math.inf
    assert jax.tree.structure(taken_up.arrays()) == jax.tree.structure(saved.arrays())
    for one, other in zip(*(jax.tree.leaves(state.arrays()) for state in (taken_up, saved)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert taken_up.progress() == saved.progress()


def test_the_progress_of_a_run_that_has_just_begun() -> None:
    """The spelling that run folders have."""
    assert make_state(0.0).progress() == {
        "evaluated_epochs": 0,
        "best_epoch": 0,
        "best_dev_eer": None,
        "best_eval_tdcf": None,
        "history": [],
    }
