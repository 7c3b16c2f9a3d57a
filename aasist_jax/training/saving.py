"""The checkpoint policy of a run: when a checkpoint is due, and what it holds."""

import time
from typing import Any

import jax
import numpy as np

from aasist_jax.training.checkpoints.store import CheckpointStore
from aasist_jax.training.epoch import StepRunner
from aasist_jax.training.parallel import on_host
from aasist_jax.training.run_log import RunLog
from aasist_jax.training.state import RunState


class SaveSchedule:
    """Decides when a checkpoint is due: after a number of steps or of minutes, whichever comes first.

    Args:
        every_steps: steps between checkpoints; 0 for never.
        every_minutes: minutes between checkpoints; 0 for never.
        saved_step: step of the newest checkpoint, or 0.
        now: the current time in seconds.
    """

    def __init__(self, every_steps: int, every_minutes: float, *, saved_step: int, now: float) -> None:
        self._every_steps, self._every_minutes = every_steps, every_minutes
        self._saved_step, self._saved_at = saved_step, now

    def note_save(self, step: int, now: float) -> None:
        """Record that this step was saved at the time `now`."""
        self._saved_step, self._saved_at = step, now

    def is_saved(self, step: int) -> bool:
        """Whether there is a checkpoint of this step."""
        return step <= self._saved_step

    def is_due(self, step: int, now: float) -> bool:
        """Whether a checkpoint of this step is due."""
        due = 0 < self._every_steps <= step - self._saved_step
        return due or 0 < self._every_minutes <= (now - self._saved_at) / 60


class RunSaver:
    """Saves the state of a run."""

    def __init__(
        self,
        store: CheckpointStore,
        schedule: SaveSchedule,
        *,
        identity: dict[str, Any],
        state: RunState,
        steps: StepRunner,
        log: RunLog,
    ) -> None:
        self._store, self._schedule, self._identity = store, schedule, identity
        self._state, self._steps, self._log = state, steps, log

    def is_due(self) -> bool:
        """Whether a checkpoint is due now."""
        return self._schedule.is_due(self._state.step, time.monotonic())

    def save(self, metric: float | None = None) -> None:
        """Save this step in the background, unless there is a checkpoint of it already.

        If the last step of an epoch was saved before the evaluation, the results of the evaluation are not saved with
        it. A resumed run then evaluates again, with the same results.

        Args:
            metric: the EER on dev at this step; the store uses it to keep the best checkpoint.

        Raises:
            TrainingError: the state is not finite, or an earlier save failed.
        """
        self._steps.settle()
        if self._schedule.is_saved(self._state.step):
            return
        arrays = self._state.arrays()
        if not all_finite(arrays["train"]):
            self._steps.stop_on_bad_state()
        self._log.flush()
        extras = {"identity": self._identity, "progress": self._state.progress()}
        data = {"next_batch": self._state.step}
        self._store.save(self._state.step, arrays, data=data, extras=extras, metric=metric)
        self._schedule.note_save(self._state.step, time.monotonic())


def all_finite(tree: Any) -> bool:
    """Whether all numbers in a replicated tree of arrays are finite."""
    return all(np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in jax.tree.leaves(on_host(tree)))
