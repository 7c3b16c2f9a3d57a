"""Estimates the model state for averaged parameters, in one pass over the training data."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from aasist_jax.data.pipeline import TrainIterator
from aasist_jax.models.variables import ModelState, Variables, join_variables, split_variables
from aasist_jax.training.averaging import estimate_state
from aasist_jax.training.interruption import StopSignals
from aasist_jax.training.parallel import on_host, replicate, split_over_devices
from aasist_jax.training.reporting import Reporter
from aasist_jax.training.run_setup import TrainingSetup
from aasist_jax.training.state import RunState


def averaged_variables(
    params: Any,
    state: RunState,
    setup: TrainingSetup,
    batches: TrainIterator,
    reporter: Reporter,
    stop_signals: StopSignals,
) -> Variables:
    """Return averaged parameters with a state that is estimated from the batches of the first epoch.

    The state of a single epoch does not fit the averaged parameters. A family without a `state_estimate` keeps the
    last state. Nothing is saved during the estimation: if the run is stopped, it resumes from the checkpoint of the
    last step and repeats the estimation.

    Raises:
        StopRequested: a signal was received.
    """
    if setup.state_function is None or setup.family.state_estimate is None:
        return join_variables(params, on_host(state.train.model_state))
    state_function = setup.state_function
    example = split_variables(state.candidates.best)[1]
    variables = replicate(join_variables(params, example))

    def each_batch() -> Iterator[ModelState]:
        batches.set_state({"next_batch": 0})
        for i in range(setup.steps_per_epoch):
            stop_signals.stop_if_requested()
            batch = next(batches)
            inputs = {name: batch[name] for name in ("wave", "length") if name in batch}
            numbers = np.full(len(batch["wave"]), i, np.int32)
            update = state_function(variables, split_over_devices(inputs | {"step": numbers}))
            reporter.clips("model state", i + 1, setup.steps_per_epoch)
            # The state is computed over all devices, so every device has the same one.
            yield jax.tree.map(lambda x: np.asarray(x.addressable_data(0))[0], update)

    model_state = estimate_state(example, each_batch(), setup.family.state_estimate.finish)
    return join_variables(params, model_state)
