"""Evaluates the model in training on a split: writes its scores to the run folder, computes error rates."""

from collections.abc import Collection
from typing import Any

import numpy as np

from aasist_jax.errors import TrainingError
from aasist_jax.evaluation.breakdowns import break_down
from aasist_jax.evaluation.score_files import Trials, write_scores
from aasist_jax.metrics.error_rates import equal_error_rate
from aasist_jax.models.variables import Variables
from aasist_jax.training.interruption import StopRequested, StopSignals
from aasist_jax.training.parallel import replicate
from aasist_jax.training.reporting import Reporter
from aasist_jax.training.run_folder import RunFolder, writing
from aasist_jax.training.run_setup import TrainingSetup
from aasist_jax.training.scoring import score_split


class SplitScorer:
    """Scores the splits of a run, reports progress, and stops when a signal asks for it."""

    def __init__(self, setup: TrainingSetup, folder: RunFolder, reporter: Reporter, stop_signals: StopSignals) -> None:
        self._setup, self._folder, self._reporter, self._stop_signals = setup, folder, reporter, stop_signals

    def score(self, variables: Variables, split: str, file_name: str) -> Trials:
        """Score a split and write the scores to a file in `scores/`.

        Raises:
            StopRequested: a signal was received; no file is written.
            TrainingError: a score is not finite, or the file cannot be written.
        """
        trials = self._trials(variables, split)
        finite = np.isfinite(trials.scores)
        if not finite.all():
            bad = trials.utterances[~finite]
            raise TrainingError(f"split {split!r}: scores are not finite, first for {bad[0]}; the model has diverged")
        if self._folder.is_writer:
            path = self._folder.scores / file_name
            with writing(path):
                write_scores(path, trials, "2019")
        return trials

    def _trials(self, variables: Variables, split: str) -> Trials:
        config = self._setup.config
        try:
            trials = score_split(
                self._setup.score_function,
                replicate(variables),
                self._setup.splits[split],
                window=self._setup.family.window(config.model_config),
                batch_size=self._setup.eval_batch_size,
                workers=config.data_config.workers,
                progress=lambda done, total: self._reporter.clips(f"scoring {split}", done, total),
                should_stop=self._stop_signals.requested_anywhere,
            )
        except Exception as error:
            # The signal may have ended decoding processes during their start, which causes other errors.
            if self._stop_signals.requested:
                raise StopRequested from error
            raise
        if trials is None:
            raise StopRequested
        return trials


def error_rates_by_attack(trials: Trials, seen_attacks: Collection[str]) -> dict[str, Any]:
    """Compute the EER of a split: pooled, per attack, and over the attacks that are or are not in the training data.

    Args:
        trials: the trials of a split; the column `attack` names the attack.
        seen_attacks: the attacks in the training data.

    Returns:
        `eer` and `threshold` of all trials; `attacks`, by name and worst first, with `eer`, `clips` and `seen` each;
        `eer_seen_attacks` and `eer_unseen_attacks` if there are such attacks; the numbers of `bonafide` and `spoof`.
    """
    pooled = equal_error_rate(trials.bonafide, trials.spoof)
    attacks = {}
    for group in break_down(trials, "attack"):
        if group.eer is not None and group.value != "-":
            attacks[group.value] = {"eer": group.eer, "clips": group.n_spoof, "seen": group.value in seen_attacks}
    rates = {"eer": pooled.eer, "threshold": pooled.threshold, "attacks": attacks}
    for kind, wanted in (("seen", True), ("unseen", False)):
        names = [name for name, attack in attacks.items() if attack["seen"] is wanted]
        spoof = trials.scores[~trials.is_bonafide & np.isin(trials.columns["attack"], names)]
        if len(spoof):
            rates[f"eer_{kind}_attacks"] = equal_error_rate(trials.bonafide, spoof).eer
    return rates | {"bonafide": len(trials.bonafide), "spoof": len(trials.spoof)}
