"""Which weights a run ends with: the sound way, on dev, and the published way, which looks at eval.

Both have one interface, `Selection`: what is kept after an epoch, and what is chosen in the end.
"""

import abc
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aasist_jax.config import ExperimentConfig
from aasist_jax.data.splits import has_split
from aasist_jax.errors import TrainingError
from aasist_jax.evaluation.score_files import Trials
from aasist_jax.evaluation.verification_scores import read_asv_scores
from aasist_jax.metrics.error_rates import equal_error_rate
from aasist_jax.metrics.scores import ScoresError
from aasist_jax.metrics.tandem import AsvErrorRates, asv_error_rates, min_tdcf_2019
from aasist_jax.models.family import Variables
from aasist_jax.training.averaging import add_to_average
from aasist_jax.training.state import Candidates

PUBLISHED_FIRST_EER = 0.01
"""With the published selection, epochs count from a dev EER of 1 percent on."""

LAST_SHARE = 0.25
"""The sound selection averages the weights of the last quarter of the epochs."""


@dataclass(frozen=True)
class EvaluatedEpoch:
    """An epoch that has been scored on dev.

    Attributes:
        number: from 1.
        variables: of the model at its end, on the host.
        dev: the trials of dev.
        dev_eer: their EER, a fraction.
    """

    number: int
    variables: Variables
    dev: Trials
    dev_eer: float


@dataclass(frozen=True)
class AveragedModel:
    """The model of the averaged parameters, made and scored only where a selection asks for it.

    Attributes:
        estimate: gives its variables, at the cost of a pass over the training data.
        score: scores dev with these variables.
    """

    estimate: Callable[[], Variables]
    score: Callable[[Variables], Trials]


@dataclass(frozen=True)
class Choice:
    """The final weights.

    Attributes:
        name: of the choice, such as `average`.
        variables: of the model.
        candidates: what there was to choose from, for the summary.
    """

    name: str
    variables: Variables
    candidates: dict[str, Any]


class Selection(abc.ABC):
    """A way to choose the final weights."""

    keeps_best: bool
    """Whether the weights of the best epoch are released beside the chosen ones."""

    @abc.abstractmethod
    def after_epoch(
        self, candidates: Candidates, epoch: EvaluatedEpoch, score_eval: Callable[[], Trials]
    ) -> tuple[Candidates, dict[str, Any]]:
        """Take an epoch into account.

        Args:
            candidates: of the epochs before.
            epoch: the epoch.
            score_eval: scores the eval split; raises `StopRequested` where a signal came.

        Returns:
            The new candidates, and what else there is to log of the epoch.
        """

    @abc.abstractmethod
    def choose(self, candidates: Candidates, last: Variables, average: AveragedModel) -> Choice:
        """Choose the final weights.

        Args:
            candidates: of all epochs.
            last: variables of the last epoch.
            average: the model of the averaged parameters.
        """


class DevSelection(Selection):
    """The sound way: the best epoch on dev, or the average of the last quarter of the epochs if dev finds it better."""

    keeps_best = False

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def after_epoch(
        self, candidates: Candidates, epoch: EvaluatedEpoch, score_eval: Callable[[], Trials]
    ) -> tuple[Candidates, dict[str, Any]]:
        """Keep the epoch if none was better, and average it if it is among the last; see `Selection`."""
        if epoch.dev_eer <= candidates.best_dev_eer:
            candidates = dataclasses.replace(
                candidates, best=epoch.variables, best_epoch=epoch.number, best_dev_eer=epoch.dev_eer
            )
        if epoch.number > self._epochs - max(1, round(self._epochs * LAST_SHARE)):
            candidates = _with_averaged(candidates, epoch)
        return candidates, {}

    def choose(self, candidates: Candidates, last: Variables, average: AveragedModel) -> Choice:
        """Choose the average unless the best epoch is better on dev; see `Selection`."""
        variables = average.estimate()
        trials = average.score(variables)
        eer = equal_error_rate(trials.bonafide, trials.spoof).eer
        report = {
            "best": {"epoch": candidates.best_epoch, "dev_eer": candidates.best_dev_eer},
            "average": {"epochs": int(candidates.average.count), "dev_eer": eer},
        }
        if eer <= candidates.best_dev_eer:
            return Choice("average", variables, report)
        return Choice("best", candidates.best, report)


class PublishedSelection(Selection):
    """The published way, which chooses `best` on the eval set and so leaks it into training; see docs/training.md.

    Args:
        asv: error rates of the organisers' speaker verification, which the t-DCF of 2019 needs.
    """

    keeps_best = True

    def __init__(self, asv: AsvErrorRates) -> None:
        self._asv = asv

    def after_epoch(
        self, candidates: Candidates, epoch: EvaluatedEpoch, score_eval: Callable[[], Trials]
    ) -> tuple[Candidates, dict[str, Any]]:
        """Average an epoch that is the best on dev so far, and keep it if it is the best on eval; see `Selection`."""
        found: dict[str, Any] = {"dev_min_tdcf_2019": self._min_tdcf(epoch.dev)}
        if epoch.dev_eer > min(candidates.best_dev_eer, PUBLISHED_FIRST_EER):
            return candidates, found
        trials = score_eval()
        tdcf = self._min_tdcf(trials)
        found["eval_eer"] = equal_error_rate(trials.bonafide, trials.spoof).eer
        found["eval_min_tdcf_2019"] = tdcf
        candidates = dataclasses.replace(candidates, best_dev_eer=epoch.dev_eer)
        if tdcf is not None and tdcf < candidates.best_eval_tdcf:
            candidates = dataclasses.replace(
                candidates, best=epoch.variables, best_epoch=epoch.number, best_eval_tdcf=tdcf
            )
        return _with_averaged(candidates, epoch), found

    def choose(self, candidates: Candidates, last: Variables, average: AveragedModel) -> Choice:
        """Choose the average, or the last epoch where none reached the EER that counts; see `Selection`."""
        count = int(candidates.average.count)
        report = {"best_epoch_by_eval_tdcf": candidates.best_epoch, "averaged": count}
        if count == 0:
            return Choice("last epoch (no dev EER reached 1 %)", last, report)
        return Choice("average", average.estimate(), report)

    def _min_tdcf(self, trials: Trials) -> float | None:
        """The min t-DCF of 2019, or None where a collapsed model scores nearly all trials alike."""
        try:
            return min_tdcf_2019(trials.bonafide, trials.spoof, self._asv)
        except ScoresError:
            return None


def make_selection(config: ExperimentConfig) -> Selection:
    """Make the selection that a configuration names; the published one reads the organisers' ASV scores.

    Raises:
        TrainingError: the data set or the configuration lacks what the selection needs.
        ScoreFileError: the ASV scores cannot be read.
    """
    if config.train_config.selection == "dev":
        return DevSelection(config.num_epochs)
    if not has_split(config, "eval"):
        raise TrainingError("--selection published: chooses on the eval split, and the data set has none")
    if not config.asv_score_path:
        raise TrainingError("--selection published: needs asv_score_path, the organisers' ASV scores of eval")
    path = Path(config.asv_score_path)
    asv = read_asv_scores(path if path.is_file() else Path(config.database_path) / path)
    return PublishedSelection(asv_error_rates(asv.target, asv.nontarget, asv.spoof))


def _with_averaged(candidates: Candidates, epoch: EvaluatedEpoch) -> Candidates:
    return dataclasses.replace(candidates, average=add_to_average(candidates.average, epoch.variables["params"]))
