"""The model state that goes with averaged parameters, from one pass over the training data."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from aasist_jax.data.pipeline import TrainIterator
from aasist_jax.training.averaging import mean_statistics
from aasist_jax.training.interruption import StopSignals
from aasist_jax.training.parallel import replicate, split_over_devices
from aasist_jax.training.reporting import Reporter
from aasist_jax.training.run_setup import TrainingSetup
from aasist_jax.training.state import Candidates, make_variables, model_state_of
from aasist_jax.weights.names import Variables


def averaged_variables(
    candidates: Candidates, setup: TrainingSetup, batches: TrainIterator, reporter: Reporter, signals: StopSignals
) -> Variables:
    """The averaged parameters with batch-norm statistics of their own, from the batches of the first epoch.

    The statistics of no epoch fit the average. The checkpoint of the last step holds all that this needs, so nothing
    is saved on the way: a run that is stopped here does it anew.

    Raises:
        StopRequested: a signal came.
    """
    params, example = candidates.average.params, model_state_of(candidates.best)
    variables = replicate(make_variables(params, example))

    def statistics() -> Iterator[Any]:
        batches.set_state({"next_batch": 0})
        for i in range(setup.steps_per_epoch):
            signals.stop_if_requested()
            wave = next(batches)["wave"]
            numbers = np.full(len(wave), i, np.int32)
            update = setup.statistics_function(variables, split_over_devices({"wave": wave, "step": numbers}))
            reporter.clips("batch-norm statistics", i + 1, setup.steps_per_epoch)
            # Every device has the same statistics: batch norm spans them all.
            yield jax.tree.map(lambda x: np.asarray(x.addressable_data(0))[0], update)

    return make_variables(params, mean_statistics(example, statistics()))
