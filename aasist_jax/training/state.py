"""The state of a run: everything that changes while it trains."""

import math
from dataclasses import dataclass, field
from typing import Any

from aasist_jax.models.variables import Variables
from aasist_jax.training.averaging import Average, empty_average
from aasist_jax.training.parallel import as_global, on_host, replicate
from aasist_jax.training.step import TrainState, loaded_state, stored_state


@dataclass(frozen=True)
class Candidates:
    """The candidates for the final weights, and how good they are; see `selection.py`.

    Attributes:
        best: variables of the best epoch so far; before the first evaluation, the initial ones. On the host.
        average: average of the parameters of the epochs that the selection includes. On the host.
        best_epoch: number of the best epoch, from 1; 0 before there is one.
        best_dev_eer: the lowest EER on dev, a fraction; infinity before there is one.
        best_eval_tdcf: the lowest min t-DCF on eval, which only the published selection uses; otherwise infinity.
    """

    best: Variables
    average: Average
    best_epoch: int = 0
    best_dev_eer: float = math.inf
    best_eval_tdcf: float = math.inf


@dataclass
class RunState:
    """Everything that a run changes, and therefore everything that a checkpoint holds.

    Attributes:
        train: state of the training step, replicated on the devices.
        candidates: the candidates for the final weights.
        step: number of steps taken.
        evaluated_epochs: number of epochs trained and evaluated.
        history: the logged evaluation results of each epoch.
    """

    train: TrainState
    candidates: Candidates
    step: int = 0
    evaluated_epochs: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def arrays(self) -> dict[str, Any]:
        """The tree of arrays that a checkpoint holds; also the template for restoring one."""
        return {
            "train": as_global(stored_state(self.train)),
            "best": self.candidates.best,
            "average": self.candidates.average,
        }

    def progress(self) -> dict[str, Any]:
        """Everything else except `step`, as JSON values; infinity, which JSON lacks, becomes None."""
        return {
            "evaluated_epochs": self.evaluated_epochs,
            "best_epoch": self.candidates.best_epoch,
            "best_dev_eer": _none_if_infinite(self.candidates.best_dev_eer),
            "best_eval_tdcf": _none_if_infinite(self.candidates.best_eval_tdcf),
            "history": self.history,
        }

    def take_up(self, step: int, arrays: dict[str, Any], progress: dict[str, Any]) -> None:
        """Load the state of a checkpoint: the results of `arrays` and `progress` when it was saved."""
        self.train = replicate(loaded_state(arrays["train"]))
        self.candidates = Candidates(
            on_host(arrays["best"]),
            on_host(arrays["average"]),
            progress["best_epoch"],
            _infinite_if_none(progress["best_dev_eer"]),
            _infinite_if_none(progress["best_eval_tdcf"]),
        )
        self.step = step
        self.evaluated_epochs, self.history = progress["evaluated_epochs"], progress["history"]


def first_state(train: TrainState, variables: Variables) -> RunState:
    """Make the state before the first step, from the state of the training step and the initial variables."""
    return RunState(replicate(train), Candidates(on_host(variables), empty_average(variables["params"])))


def _none_if_infinite(value: float) -> float | None:
    return None if math.isinf(value) else value


def _infinite_if_none(value: float | None) -> float:
    return math.inf if value is None else value
