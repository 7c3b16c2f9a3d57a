"""The training run as a whole: from a configuration to a run folder with the released model."""

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from os import PathLike
from typing import Any

import jax

from aasist_jax.config import ExperimentConfig, to_json
from aasist_jax.data.pipeline import TrainIterator
from aasist_jax.errors import TrainingError
from aasist_jax.metrics.error_rates import equal_error_rate
from aasist_jax.runtime.memory import unused_memory_returned
from aasist_jax.training.averaged_state import averaged_variables
from aasist_jax.training.checkpoints.store import CheckpointStore
from aasist_jax.training.epoch import StepRunner
from aasist_jax.training.evaluation import SplitScorer, error_rates_by_attack
from aasist_jax.training.identity import check_identity, config_fault, describe_environment, software_differences
from aasist_jax.training.interruption import StopRequested, StopSignals
from aasist_jax.training.parallel import any_host, on_host
from aasist_jax.training.reporting import Reporter
from aasist_jax.training.run_folder import RunFolder
from aasist_jax.training.run_log import RunLog
from aasist_jax.training.run_setup import TrainingSetup, set_up
from aasist_jax.training.saving import RunSaver, SaveSchedule
from aasist_jax.training.selection import AveragedModel, Choice, EvaluatedEpoch, Selection, is_stalled, make_selection
from aasist_jax.training.state import RunState
from aasist_jax.weights.folder import Source, load_weights, save_weights


def train(config: ExperimentConfig, folder: str | PathLike[str], reporter: Reporter | None = None) -> dict[str, Any]:
    """Train as configured, or resume a run that was stopped in the same folder.

    Args:
        config: configuration of the experiment.
        folder: folder of the run, made if it is missing.
        reporter: shows progress; by default on standard error.

    Returns:
        The content of `summary.json`.

    Raises:
        StopRequested: SIGTERM or SIGINT was received. A checkpoint is saved; the same call resumes from it.
        TrainingError: the run cannot start, continue or be resumed, or the loss is no longer finite.
        DataError: clips are missing or unreadable; this is checked before the first step.
    """
    if reporter is None:
        with Reporter(quiet=jax.process_index() != 0) as own:
            return train(config, folder, own)
    run_folder = RunFolder(folder, is_writer=jax.process_index() == 0)
    selection = make_selection(config)
    setup, state = set_up(config, run_folder.root)
    if run_folder.summary.exists():
        return _summary_of_finished_run(setup, run_folder, reporter)
    _check_same_run(setup, run_folder)
    # Up to here a signal ends the run at once, because there is nothing to save yet.
    with (
        unused_memory_returned() if jax.default_backend() == "cpu" else contextlib.nullcontext(),
        contextlib.closing(iter(setup.batches)) as batches,
        contextlib.closing(run_folder),
        StopSignals() as stop_signals,
        CheckpointStore(run_folder.checkpoints) as store,
    ):
        _start_or_resume(setup, state, store, run_folder, reporter)
        with RunLog(run_folder, state.step, state.evaluated_epochs) as log:
            scorer = SplitScorer(setup, run_folder, reporter, stop_signals)
            run = _Run(setup, state, selection, batches, scorer, run_folder, log, reporter, stop_signals)
            run.train(store)
            return run.finish()


def _summary_of_finished_run(setup: TrainingSetup, folder: RunFolder, reporter: Reporter) -> dict[str, Any]:
    """Read the summary of a complete run; refuse it if the configuration differs."""
    summary: dict[str, Any] = folder.read_json(folder.summary.name)
    check_identity(folder.root, summary["identity"], setup.identity)
    with contextlib.suppress(TrainingError):  # a finished run may lie where nothing can be written
        _mend_config(setup, folder, reporter)
    for name in ("dev", "eval"):
        if name in summary:
            reporter.table(_title(name, summary), summary[name])
    reporter.say(f"{folder.root}: this run is complete")
    return summary


def _title(split: str, summary: dict[str, Any]) -> str:
    """The name of a split in a table, and what the weights were selected on if that is not all of dev."""
    held_out = summary.get("held_out_systems")
    return (
        f"{split} (bona fide and {len(held_out)} systems held out of training)"
        if held_out and split == "dev"
        else split
    )


def _check_same_run(setup: TrainingSetup, folder: RunFolder) -> None:
    """Refuse to resume a different run, before anything in the folder is changed."""
    environment = folder.read_json("environment.json")
    if environment is not None and any(folder.checkpoints.glob("[0-9]*")):
        check_identity(folder.root, environment["identity"], setup.identity)


def _start_or_resume(
    setup: TrainingSetup, state: RunState, store: CheckpointStore, folder: RunFolder, reporter: Reporter
) -> None:
    """Restore the newest good checkpoint; without one, record the configuration and the environment."""
    restored = store.restore(state.arrays())
    for rejected in store.rejected:
        reporter.say(str(rejected))
    environment = describe_environment(setup.config.train_config.seed)
    if restored is None:
        folder.write_json("config.json", to_json(setup.config))
        folder.write_json("environment.json", environment | {"identity": setup.identity})
        return
    check_identity(folder.root, restored.extras["identity"], setup.identity)
    state.take_up(restored.step, restored.state, restored.extras["progress"])
    reporter.say(f"{folder.root}: resuming after step {state.step} of {setup.total_steps}")
    _mend_config(setup, folder, reporter)
    changed = software_differences(folder.read_json("environment.json") or environment, environment)
    if changed:
        reporter.say(f"the software has changed, so results may differ in the last bits: {'; '.join(changed)}")


def _mend_config(setup: TrainingSetup, folder: RunFolder, reporter: Reporter) -> None:
    """Tell of a `config.json` that was damaged or changed, and write it again.

    It has no checksum of its own, because the identity of the run, which was compared just before, holds the whole
    configuration. It lies in every checkpoint and in the summary.
    """
    path = folder.root / "config.json"
    if folder.is_writer and (fault := config_fault(path, setup.config)):
        folder.write_json(path.name, to_json(setup.config))
        reporter.say(f"{path}: {fault}; it is written again as the run was configured")


@dataclass(frozen=True)
class _Run:
    """A run that has been set up: takes its steps, evaluates its epochs, and writes the final model."""

    setup: TrainingSetup
    state: RunState
    selection: Selection
    batches: TrainIterator
    scorer: SplitScorer
    folder: RunFolder
    log: RunLog
    reporter: Reporter
    stop_signals: StopSignals

    def train(self, store: CheckpointStore) -> None:
        """Take all remaining steps, save checkpoints when they are due, and evaluate after every epoch."""
        setup, state = self.setup, self.state
        options = setup.config.train_config
        steps = StepRunner(
            setup,
            state,
            self.batches,
            folder=self.folder,
            log=self.log,
            reporter=self.reporter,
            stop_signals=self.stop_signals,
        )
        schedule = SaveSchedule(
            options.checkpoint_steps, options.checkpoint_minutes, saved_step=state.step, now=time.monotonic()
        )
        saver = RunSaver(store, schedule, identity=setup.identity, state=state, steps=steps, log=self.log)
        try:
            for epoch in range(state.evaluated_epochs + 1, setup.config.num_epochs + 1):
                if self._is_stalled():
                    break
                while state.step < epoch * setup.steps_per_epoch:
                    self._save_or_stop(saver, steps)
                    steps.take_step()
                steps.end_epoch()
                self._evaluate_epoch(epoch)
                saver.save(metric=state.history[-1]["dev_eer"])
        except StopRequested:
            saver.save()
            store.wait()
            raise
        store.wait()

    def _is_stalled(self) -> bool:
        """Whether to end early; says so."""
        patience = self.setup.config.train_config.patience
        stalled = is_stalled([entry["dev_eer"] for entry in self.state.history], patience)
        if stalled:
            done, of = self.state.evaluated_epochs, self.setup.config.num_epochs
            self.reporter.say(f"no lower EER on dev for {patience} epochs: training ends after {done} of {of} epochs")
        return stalled

    def _save_or_stop(self, saver: RunSaver, steps: StepRunner) -> None:
        """Between two steps: save if a checkpoint is due, and stop if any host has received a signal."""
        due = saver.is_due()
        if jax.process_count() > 1:
            # Finish the step first: two collectives at once may run in different orders on two hosts and deadlock.
            steps.settle()
        asked_to_stop, due = any_host(self.stop_signals.requested, due)
        if asked_to_stop:
            raise StopRequested
        if due:
            saver.save()

    def _evaluate_epoch(self, epoch: int) -> None:
        """Evaluate on dev, and update the candidates for the final weights.

        Raises:
            StopRequested: a signal was received; the evaluation is discarded.
        """
        state = self.state
        variables = on_host(state.train.variables)
        trials = self.scorer.score(variables, "dev", f"dev_epoch_{epoch:03d}.txt")
        dev = equal_error_rate(trials.bonafide, trials.spoof)
        state.candidates, found = self.selection.after_epoch(
            state.candidates,
            EvaluatedEpoch(epoch, variables, trials, dev.eer),
            lambda: self.scorer.score(variables, "eval", f"eval_epoch_{epoch:03d}.txt"),
        )
        entry = {"epoch": epoch, "step": state.step, "dev_eer": dev.eer, "dev_threshold": dev.threshold} | found
        state.evaluated_epochs = epoch
        state.history.append(entry)
        self.log.add(entry)
        self.reporter.epoch(epoch, self.setup.config.num_epochs, entry)

    def finish(self) -> dict[str, Any]:
        """Choose the final weights, evaluate them, and write the released model and the summary.

        Raises:
            StopRequested: a signal was received. The last checkpoint holds all steps; a resumed run repeats the rest.
        """
        state, ema = self.state, self.state.train.ema
        choice = self.selection.choose(
            state.candidates,
            on_host(state.train.variables),
            self._averaged(state.candidates.average.params, "average"),
            None if ema is None else self._averaged(on_host(ema), "ema"),
        )
        summary: dict[str, Any] = {
            "selection": self.setup.config.train_config.selection,
            "chosen": choice.name,
            "candidates": choice.candidates,
            "epochs": self.state.history,
            "steps": self.state.step,
        }
        if held_out := self.setup.splits["dev"].held_out:
            summary["held_out_systems"] = held_out
        seen_attacks = {clip.attack for clip in self.setup.splits["train"].utterances if clip.label == "spoof"}
        for name in ("dev", "eval"):
            if name in self.setup.splits:
                trials = self.scorer.score(choice.variables, name, f"{name}_final.txt")
                summary[name] = error_rates_by_attack(trials, seen_attacks)
                self.reporter.table(_title(name, summary), summary[name])
        if self.folder.is_writer:
            summary["weights_id"] = self._write_weights(choice)
        self.folder.write_json("summary.json", summary | {"identity": self.setup.identity})
        self.reporter.say(f"weights: {self.folder.weights}")
        return summary

    def _averaged(self, params: Any, name: str) -> AveragedModel:
        """A model with averaged parameters, whose scores are written as `dev_NAME.txt`."""
        return AveragedModel(
            lambda: averaged_variables(params, self.state, self.setup, self.batches, self.reporter, self.stop_signals),
            lambda variables: self.scorer.score(variables, "dev", f"dev_{name}.txt"),
        )

    def _write_weights(self, choice: Choice) -> str:
        """Write the released model and return its id."""
        config = self.setup.config
        digest = hashlib.sha256(json.dumps(to_json(config), sort_keys=True).encode()).hexdigest()
        source = Source(f"{self.folder.root.resolve().name}.run", digest)
        whole = self.setup.whole
        save_weights(self.folder.weights, config.model_config, whole(choice.variables), source)
        candidates = self.state.candidates
        if self.selection.keeps_best and candidates.best_epoch:
            # The counterpart of the published best.pth.
            save_weights(self.folder.root / "weights_best", config.model_config, whole(candidates.best), source)
        return load_weights(self.folder.weights).weights_id
