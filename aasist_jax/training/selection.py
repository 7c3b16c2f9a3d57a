"""Selects the final weights of a run: on dev (the sound way), or the published way, which also uses eval.

Both implement `Selection`: which candidates to keep after an epoch, and which one to choose at the end.
"""

import abc
import dataclasses
from collections.abc import Callable, Sequence
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
from aasist_jax.models.variables import Variables
from aasist_jax.training.averaging import add_to_average
from aasist_jax.training.state import Candidates

PUBLISHED_FIRST_EER = 0.01
"""The published selection only considers epochs with a dev EER of at most 1 percent."""

LAST_SHARE = 0.25
"""The sound selection averages the weights of the last quarter of the epochs."""


@dataclass(frozen=True)
class EvaluatedEpoch:
    """An epoch that has been scored on dev.

    Attributes:
        number: number of the epoch, from 1.
        variables: variables of the model at the end of the epoch, on the host.
        dev: the trials of dev.
        dev_eer: EER of these trials, a fraction.
    """

    number: int
    variables: Variables
    dev: Trials
    dev_eer: float


@dataclass(frozen=True)
class AveragedModel:
    """A model with averaged parameters. It is made and scored only if a selection asks for it.

    Attributes:
        estimate: returns its variables; takes a pass over the training data.
        score: scores dev with these variables.
    """

    estimate: Callable[[], Variables]
    score: Callable[[Variables], Trials]


@dataclass(frozen=True)
class Choice:
    """The final weights.

    Attributes:
        name: name of the choice, such as `average`.
        variables: variables of the model.
        candidates: a description of the candidates, for the summary.
    """

    name: str
    variables: Variables
    candidates: dict[str, Any]


class Selection(abc.ABC):
    """A way to choose the final weights."""

    keeps_best: bool
    """Whether the weights of the best epoch are released in addition to the chosen ones."""

    @abc.abstractmethod
    def after_epoch(
        self, candidates: Candidates, epoch: EvaluatedEpoch, score_eval: Callable[[], Trials]
    ) -> tuple[Candidates, dict[str, Any]]:
        """Update the candidates after an epoch.

        Args:
            candidates: the candidates after the previous epochs.
            epoch: the epoch.
            score_eval: scores the eval split; raises `StopRequested` if a signal was received.

        Returns:
            The new candidates, and further values to log for the epoch.
        """

    @abc.abstractmethod
    def choose(
        self, candidates: Candidates, last: Variables, average: AveragedModel, moving: AveragedModel | None = None
    ) -> Choice:
        """Choose the final weights.

        Args:
            candidates: the candidates after all epochs.
            last: variables of the last epoch.
            average: the model with the averaged parameters of the candidates.
            moving: the model with the moving average of the parameters, if there is one.
        """


class DevSelection(Selection):
    """The sound way: the best epoch on dev, or an average if dev is no worse.

    The averages are that of the last quarter of the epochs, which a run that ends early may not have reached, and the
    moving average at the end if there is one.
    """

    keeps_best = False

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def after_epoch(
        self, candidates: Candidates, epoch: EvaluatedEpoch, score_eval: Callable[[], Trials]
    ) -> tuple[Candidates, dict[str, Any]]:
        """Keep the epoch if none before was better; add it to the average if it is in the last quarter."""
        if epoch.dev_eer <= candidates.best_dev_eer:
            candidates = dataclasses.replace(
                candidates, best=epoch.variables, best_epoch=epoch.number, best_dev_eer=epoch.dev_eer
            )
        if epoch.number > self._epochs - max(1, round(self._epochs * LAST_SHARE)):
            candidates = _with_averaged(candidates, epoch)
        return candidates, {}

    def choose(
        self, candidates: Candidates, last: Variables, average: AveragedModel, moving: AveragedModel | None = None
    ) -> Choice:
        """Choose the best on dev; of equals, an average, and the moving one first."""
        count = int(candidates.average.count)
        name, chosen, lowest = "best", candidates.best, candidates.best_dev_eer
        report: dict[str, Any] = {"best": {"epoch": candidates.best_epoch, "dev_eer": lowest}}
        for other, model, facts in (("average", average if count else None, {"epochs": count}), ("ema", moving, {})):
            if model is None:
                continue
            variables = model.estimate()
            trials = model.score(variables)
            eer = equal_error_rate(trials.bonafide, trials.spoof).eer
            report[other] = {**facts, "dev_eer": eer}
            if eer <= lowest:
                name, chosen, lowest = other, variables, eer
        return Choice(name, chosen, report)


class PublishedSelection(Selection):
    """The published way. It selects on the eval set, which biases results on eval; see docs/training.md.

    Args:
        asv: error rates of the organisers' speaker verification (ASV), which the t-DCF of 2019 needs.
    """

    keeps_best = True

    def __init__(self, asv: AsvErrorRates) -> None:
        self._asv = asv

    def after_epoch(
        self, candidates: Candidates, epoch: EvaluatedEpoch, score_eval: Callable[[], Trials]
    ) -> tuple[Candidates, dict[str, Any]]:
        """If the epoch is the best on dev so far, add it to the average; keep it if it is the best on eval."""
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

    def choose(
        self, candidates: Candidates, last: Variables, average: AveragedModel, moving: AveragedModel | None = None
    ) -> Choice:
        """Choose the average, or the last epoch if no epoch reached `PUBLISHED_FIRST_EER`."""
        count = int(candidates.average.count)
        report = {"best_epoch_by_eval_tdcf": candidates.best_epoch, "averaged": count}
        if count == 0:
            return Choice("last epoch (no dev EER reached 1 %)", last, report)
        return Choice("average", average.estimate(), report)

    def _min_tdcf(self, trials: Trials) -> float | None:
        """The min t-DCF of 2019, or None if a collapsed model gives nearly all trials the same score."""
        try:
            return min_tdcf_2019(trials.bonafide, trials.spoof, self._asv)
        except ScoresError:
            return None


def is_stalled(dev_eers: Sequence[float], patience: int) -> bool:
    """Whether none of the last `patience` epochs was better on dev than the best before; 0 waits for ever."""
    return 0 < patience < len(dev_eers) and min(dev_eers[-patience:]) >= min(dev_eers[:-patience])


def make_selection(config: ExperimentConfig) -> Selection:
    """Make the configured selection; the published one reads the organisers' ASV scores.

    Raises:
        TrainingError: the published selection has no eval split or no ASV scores.
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
