"""The training loop: from a configuration to a run folder with a released model."""

import dataclasses
import hashlib
import json
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from aasist_jax.config import ExperimentConfig, to_json
from aasist_jax.data.pipeline import train_dataset
from aasist_jax.data.splits import Split, has_split, open_splits
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import TrainingError, WeightsError
from aasist_jax.evaluation.breakdowns import break_down
from aasist_jax.evaluation.score_files import Trials, write_scores
from aasist_jax.evaluation.verification_scores import read_asv_scores
from aasist_jax.metrics.error_rates import equal_error_rate
from aasist_jax.metrics.scores import ScoresError
from aasist_jax.metrics.tandem import AsvErrorRates, asv_error_rates, min_tdcf_2019
from aasist_jax.models.family import architecture_of, build_model
from aasist_jax.training.averaging import add_to_average, empty_average, make_statistics_step, mean_statistics
from aasist_jax.training.checkpoints import CheckpointStore, Restored
from aasist_jax.training.interruption import StopRequested, StopSignals
from aasist_jax.training.optimizer import frozen_by, learning_rate, make_optimizer
from aasist_jax.training.parallel import (
    AXIS,
    any_host,
    as_global,
    batch_to_devices,
    check_batch_size,
    first_host_first,
    gather_hosts,
    on_host,
    parallel_map,
    parallel_step,
    replicate,
    split_over_devices,
)
from aasist_jax.training.reporting import Board, Reporter
from aasist_jax.training.run_folder import RunFolder, describe_environment, differences, writing
from aasist_jax.training.scoring import make_score_function, score_split
from aasist_jax.training.step import init_state, make_train_step, random_variables
from aasist_jax.weights.folder import Source, load_weights, save_weights

PUBLISHED_FIRST_EER = 0.01
"""With the published selection, snapshots count from a dev EER of 1 percent on."""

RATE_STEPS = 20
"""Clips per second are those of the last twenty steps."""

LAST_SHARE = 0.25
"""The sound selection averages the weights of the last quarter of the epochs."""


@dataclass
class Progress:
    """How far a run has come, beside the state of the model; JSON in every checkpoint."""

    evaluated_epochs: int = 0
    best_epoch: int = 0
    best_dev_eer: float = math.inf
    best_eval_tdcf: float = math.inf
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Infinity, which JSON lacks, becomes None."""
        raw = dataclasses.asdict(self)
        return {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in raw.items()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Progress":
        """Read what `to_json` gave."""
        values: dict[str, Any] = {k: math.inf if v is None else v for k, v in raw.items()}
        return cls(**values)


@dataclass(frozen=True)
class StagedBatch:
    """A batch on its way to the devices."""

    arrays: dict[str, Any]
    index: np.ndarray
    """Position of each clip of this host in the training split."""
    waited: float
    """Seconds until the pipeline gave it."""


def train(config: ExperimentConfig, folder: str | PathLike[str], reporter: Reporter) -> dict[str, Any]:
    """Train as configured, or go on where an earlier start in the same folder was stopped.

    Returns:
        The content of `summary.json`.

    Raises:
        StopRequested: SIGTERM or SIGINT came; a checkpoint is saved, the same call goes on from there.
        TrainingError: the run cannot start, go on or be resumed; also where the loss is no longer finite.
        DataError: clips are missing or unreadable, found before the first step.
    """
    run_folder = RunFolder(folder, is_writer=jax.process_index() == 0)
    # Until the run is set up a signal ends it at once: there is nothing to save yet.
    signals = StopSignals()
    run = _Run(config, run_folder, reporter, signals)
    try:
        if run_folder.summary.exists():
            return run.finished_summary()
        run.check_unchanged()
        with signals, CheckpointStore(run_folder.checkpoints) as store:
            run.resume(store)
            run.train(store)
            return run.finish()
    finally:
        run.close()


class _Run:
    """One run. The order of its life: resume, train (every epoch ending in an evaluation), finish."""

    def __init__(self, config: ExperimentConfig, folder: RunFolder, reporter: Reporter, signals: StopSignals) -> None:
        self.config, self.folder, self.reporter, self.signals = config, folder, reporter, signals
        options = config.train_config
        check_batch_size(config.batch_size, "batch_size", options.accumulation)
        self.eval_batch_size = options.eval_batch_size or config.batch_size
        check_batch_size(self.eval_batch_size, "train_config.eval_batch_size")

        names = ["train", "dev"] + (["eval"] if has_split(config, "eval") else [])
        if options.selection == "published" and "eval" not in names:
            raise TrainingError("--selection published: chooses on the eval split, and the data set has none")
        self.asv = self._read_asv() if options.selection == "published" else None
        self.splits = open_splits(
            config, names, folder.root, is_writer=jax.process_index() == 0, one_host_first=first_host_first
        )
        self.train_split: Split = self.splits["train"]

        dtype = jnp.dtype(options.dtype)
        variables, self.init_id = self._initial_variables()
        params = variables["params"]
        untouched = architecture_of(config.model_config).frozen_parameter
        frozen = frozen_by(options.freeze, params)
        self.data = train_dataset(
            self.train_split.source,
            samples=config.model_config.nb_samp,
            batch_size=config.batch_size,
            seed=options.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            workers=config.data_config.workers,
        )
        self.steps_per_epoch = self.data.steps_per_epoch
        self.total_steps = self.steps_per_epoch * config.num_epochs
        optimizer = make_optimizer(
            config.optim_config, self.total_steps, params, lambda path: untouched(path) or path in frozen
        )
        self.schedule = learning_rate(config.optim_config, self.total_steps)
        training_model = build_model(config.model_config, dtype=dtype, axis_name=AXIS)
        self.step_function = parallel_step(
            make_train_step(
                training_model,
                optimizer,
                class_weights=options.class_weights,
                freq_aug=config.freq_aug,
                accumulation=options.accumulation,
                seed=options.seed,
                frozen=frozen,
                axis_name=AXIS,
            )
        )
        self.statistics_function = parallel_map(make_statistics_step(training_model, seed=options.seed, axis_name=AXIS))
        self.score_function = make_score_function(build_model(config.model_config, dtype=dtype))

        self.state = replicate(init_state(variables, optimizer))
        self.best = on_host({"params": params, "batch_stats": variables["batch_stats"]})
        self.average = empty_average(params)
        self.progress = Progress()
        self.step = 0
        self.iterator = iter(self.data)
        self.board: Board | None = None

    def close(self) -> None:
        """Let go of workers and files."""
        self.iterator.close()
        self.folder.close()
        if self.board is not None:
            self.board.close()

    def identity(self) -> dict[str, Any]:
        """What must be the same for a resumed run to end in the same bits."""
        return {
            "config": to_json(self.config),
            "data": {name: split.fingerprint for name, split in self.splits.items()},
            "init": self.init_id,
            "devices": jax.device_count(),
            "processes": jax.process_count(),
        }

    def finished_summary(self) -> dict[str, Any]:
        """Read the summary of a run that is complete, refusing another configuration."""
        summary: dict[str, Any] = self.folder.read_json(self.folder.summary.name)
        self._check_identity(summary["identity"])
        for name in ("dev", "eval"):
            if name in summary:
                self.reporter.table(name, summary[name])
        self.reporter.say(f"{self.folder.root}: this run is complete")
        return summary

    def check_unchanged(self) -> None:
        """Refuse to resume another run, before anything in the folder is touched."""
        environment = self.folder.read_json("environment.json")
        if environment is not None and any(self.folder.checkpoints.glob("[0-9]*")):
            self._check_identity(environment["identity"])

    def resume(self, store: CheckpointStore) -> None:
        """Take up the newest good checkpoint, if there is one."""
        restored = store.restore(self._checkpoint_tree())
        for rejected in store.rejected:
            self.reporter.say(str(rejected))
        if restored is not None:
            self._take_up(restored)
        else:
            self.folder.write_json("config.json", to_json(self.config))
            self.folder.write_json(
                "environment.json", describe_environment(self.config.train_config.seed) | {"identity": self.identity()}
            )
        self.folder.open_log(self.step, self.progress.evaluated_epochs)
        if self.folder.is_writer:
            self.board = Board(self.folder.tensorboard, self.step + 1)

    def train(self, store: CheckpointStore) -> None:
        """Take every step that is left, saving and evaluating on the way."""
        options = self.config.train_config
        saved_step, saved_at = self.step, time.monotonic()
        staged: StagedBatch | None = None
        unsettled: tuple[int, Any, StagedBatch] | None = None
        last: StagedBatch | None = None
        # When the last steps were settled, and how long each had waited for its data.
        settled: deque[tuple[float, float]] = deque(maxlen=RATE_STEPS + 1)

        def settle() -> None:
            """Fetch the last step's figures, stop the run if they are not finite, and log them."""
            nonlocal unsettled
            if unsettled is None:
                return
            step, metrics, batch = unsettled
            unsettled = None
            loss, norm = (float(on_host(metrics[name])) for name in ("loss", "gradient_norm"))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._stop_on_bad_batch(step, f"loss {loss}, gradient norm {norm}", batch)
            settled.append((time.monotonic(), batch.waited))
            elapsed = settled[-1][0] - settled[0][0] or math.inf
            rate = (len(settled) - 1) * self.config.batch_size / elapsed
            waiting = sum(waited for _, waited in list(settled)[1:]) / elapsed
            self.reporter.step(step, self.total_steps, loss, rate)
            if step % options.log_steps == 0 or step == self.total_steps:
                self._log_step(step, loss, norm, rate, waiting, batch)

        def save(metric: float | None = None) -> None:
            """Save this step, unless that has been done: what an evaluation adds to a saved step is found again."""
            nonlocal saved_step, saved_at
            settle()
            if self.step > saved_step:
                assert last is not None
                self._save(store, metric, last)
                saved_step, saved_at = self.step, time.monotonic()

        def stop() -> NoReturn:
            save()
            store.wait()
            raise StopRequested

        self.iterator.set_state({"next_batch": self.step})
        self.reporter.start(self.step, self.total_steps)
        while True:
            epoch, within = divmod(self.step, self.steps_per_epoch)
            if within == 0 and epoch > self.progress.evaluated_epochs:
                settle()
                if not self._end_epoch(epoch):
                    stop()
                save(self.progress.history[-1]["dev_eer"])
                settled.clear()
            if self.step == self.total_steps:
                break
            due = 0 < options.checkpoint_steps <= self.step - saved_step
            due = due or 0 < options.checkpoint_minutes <= (time.monotonic() - saved_at) / 60
            if jax.process_count() > 1:
                # Two collectives under way at once may start in another order on another host, and wait for ever.
                settle()
            asked_to_stop, due = any_host(self.signals.requested, due)
            if asked_to_stop:
                stop()
            if due:
                save()

            batch = staged or self._stage()
            if batch is None:
                continue
            self.state, metrics = self.step_function(self.state, batch.arrays)
            self.step += 1
            # While the devices compute, the next batch is fetched and sent, and the last step's figures read.
            staged = self._stage() if self.step < self.total_steps else None
            settle()
            unsettled, last = (self.step, metrics, batch), batch
        settle()
        store.wait()

    def finish(self) -> dict[str, Any]:
        """Choose the final weights, evaluate them, and write the released model and the summary."""
        chosen, variables, candidates = self._select()
        source = Source(f"{self.folder.root.resolve().name}.run", self._config_hash())
        summary: dict[str, Any] = {
            "selection": self.config.train_config.selection,
            "chosen": chosen,
            "candidates": candidates,
            "epochs": self.progress.history,
            "steps": self.total_steps,
        }
        for name in ("dev", "eval"):
            if name in self.splits:
                trials = self._score(variables, name, self.folder.scores / f"{name}_final.txt")
                summary[name] = self._figures(trials)
                self.reporter.table(name, summary[name])
        if self.folder.is_writer:
            save_weights(self.folder.weights, self.config.model_config, variables, source)
            summary["model_id"] = load_weights(self.folder.weights).model_id
            if self.config.train_config.selection == "published" and self.progress.best_epoch:
                # The counterpart of the published best.pth.
                save_weights(self.folder.root / "weights_best", self.config.model_config, self.best, source)
        self.folder.write_json("summary.json", summary | {"identity": self.identity()})
        self.reporter.say(f"weights: {self.folder.weights}")
        return summary

    def _initial_variables(self) -> tuple[Any, str]:
        """Random weights from the seed, or those that `init` names."""
        config, options = self.config.model_config, self.config.train_config
        if not options.init:
            return on_host(random_variables(config, options.seed)), f"seed {options.seed}"
        from aasist_jax.weights.published import find_weights

        weights = load_weights(find_weights(options.init))
        if dataclasses.replace(weights.config, nb_samp=config.nb_samp) != config:
            raise WeightsError(
                f"{options.init}: its architecture differs from the configuration's: "
                + "; ".join(differences(to_json(weights.config), to_json(config)))
            )
        return weights.variables, weights.model_id

    def _read_asv(self) -> AsvErrorRates:
        if not self.config.asv_score_path:
            raise TrainingError("--selection published: needs asv_score_path, the organisers' ASV scores of eval")
        path = Path(self.config.asv_score_path)
        asv = read_asv_scores(path if path.is_file() else Path(self.config.database_path) / path)
        return asv_error_rates(asv.target, asv.nontarget, asv.spoof)

    def _checkpoint_tree(self) -> dict[str, Any]:
        return {"train": as_global(self.state), "best": self.best, "average": self.average}

    def _take_up(self, restored: Restored) -> None:
        self._check_identity(restored.extras["identity"])
        self.state = replicate(restored.state["train"])
        self.best = on_host(restored.state["best"])
        self.average = on_host(restored.state["average"])
        self.progress = Progress.from_json(restored.extras["progress"])
        self.step = restored.step
        self.reporter.say(f"{self.folder.root}: going on behind step {self.step} of {self.total_steps}")
        now = describe_environment(self.config.train_config.seed)
        before = self.folder.read_json("environment.json") or now
        keys = ("python", "packages", "git_revision", "native_kernels")
        changed = differences({key: before.get(key) for key in keys}, {key: now[key] for key in keys})
        if changed:
            self.reporter.say(f"other software than at the start, so the last bits may differ: {'; '.join(changed)}")

    def _check_identity(self, before: dict[str, Any]) -> None:
        changed = differences(before, self.identity())
        if changed:
            raise TrainingError(
                f"{self.folder.root}: holds a run that differs from what is asked for: {'; '.join(changed)}. "
                "Undo the change to resume it, or give another --output"
            )

    def _stage(self) -> StagedBatch | None:
        """Get the next batch and start sending it; None where the signal to stop ended workers not yet up."""
        began = time.monotonic()
        try:
            batch = next(self.iterator)
        except Exception:
            if self.signals.requested:
                return None
            raise
        waited = time.monotonic() - began
        arrays = batch_to_devices({"wave": batch["wave"], "label": batch["label"]})
        return StagedBatch(arrays, batch["index"], waited)

    def _save(self, store: CheckpointStore, metric: float | None, last: StagedBatch) -> None:
        tree = self._checkpoint_tree()
        for leaf in jax.tree.leaves(on_host(tree["train"])):
            if not np.isfinite(np.asarray(leaf, np.float64)).all():
                self._stop_on_bad_batch(self.step, "the state is no longer finite", last)
        if self.board is not None:
            # The log and the curves never lack a step that a checkpoint holds.
            self.board.flush()
        extras = {"identity": self.identity(), "progress": self.progress.to_json()}
        store.save(self.step, tree, data={"next_batch": self.step}, extras=extras, metric=metric)

    def _stop_on_bad_batch(self, step: int, what: str, batch: StagedBatch) -> NoReturn:
        clips = [str(clip.path) for clip in self._clips_of(batch)]
        name = f"bad_batch_{step}.json"
        self.folder.write_json(name, {"step": step, "what": what, "files": clips})
        raise TrainingError(
            f"step {step}: {what}: stopped, and the state is not saved. "
            f"The batch's {len(clips)} files are listed in {self.folder.root / name}: "
            + ", ".join(Path(clip).name for clip in clips)
        )

    def _clips_of(self, batch: StagedBatch) -> list[Utterance]:
        """List the clips of the global batch, those of every host."""
        return [self.train_split.utterances[i] for i in gather_hosts(batch.index)]

    def _log_step(self, step: int, loss: float, norm: float, rate: float, waiting: float, batch: StagedBatch) -> None:
        figures = {
            "loss": loss,
            "learning_rate": float(self.schedule(step - 1)),
            "gradient_norm": norm,
            "clips_per_second": rate,
            "data_wait_share": waiting,
        }
        entry: dict[str, Any] = {"step": step, "epoch": -(-step // self.steps_per_epoch)} | figures
        if self.config.train_config.log_batches:
            entry["utterances"] = [clip.utterance for clip in self._clips_of(batch)]
        self.folder.log(**entry)
        self._to_board(step, figures)

    def _to_board(self, step: int, figures: dict[str, float]) -> None:
        if self.board is not None:
            self.board.add(step, figures)

    def _end_epoch(self, epoch: int) -> bool:
        """Evaluate on dev and update best and average; False where a signal cut the evaluation short."""
        variables = on_host({"params": self.state.params, "batch_stats": self.state.batch_stats})
        trials = self._score(variables, "dev", self.folder.scores / f"dev_epoch_{epoch:03d}.txt", may_stop=True)
        if trials is None:
            return False
        dev = equal_error_rate(trials.bonafide, trials.spoof)
        entry: dict[str, Any] = {"epoch": epoch, "step": self.step, "dev_eer": dev.eer, "dev_threshold": dev.threshold}
        if self.config.train_config.selection == "published":
            cut_short = not self._published_epoch(epoch, variables, trials, entry)
            if cut_short:
                return False
        else:
            if dev.eer <= self.progress.best_dev_eer:
                self._keep_best(epoch, dev.eer, variables)
            if epoch > self.config.num_epochs - max(1, round(self.config.num_epochs * LAST_SHARE)):
                self.average = add_to_average(self.average, variables["params"])
        self.progress.evaluated_epochs = epoch
        self.progress.history.append(entry)
        self.folder.log(**entry)
        self._to_board(self.step, {k: v for k, v in entry.items() if isinstance(v, float)})
        self.reporter.epoch(epoch, self.config.num_epochs, entry)
        return True

    def _keep_best(self, epoch: int, dev_eer: float, variables: Any) -> None:
        self.progress.best_epoch, self.progress.best_dev_eer = epoch, dev_eer
        self.best = variables

    def _published_epoch(self, epoch: int, variables: Any, dev: Trials, entry: dict[str, Any]) -> bool:
        """Follow the published procedure: it chooses `best` on the eval set, which leaks; see docs/training.md."""
        entry["dev_min_tdcf_2019"] = self._tdcf(dev)
        if entry["dev_eer"] > min(self.progress.best_dev_eer, PUBLISHED_FIRST_EER):
            return True
        trials = self._score(variables, "eval", self.folder.scores / f"eval_epoch_{epoch:03d}.txt", may_stop=True)
        if trials is None:
            return False
        entry["eval_eer"] = equal_error_rate(trials.bonafide, trials.spoof).eer
        entry["eval_min_tdcf_2019"] = self._tdcf(trials)
        self.progress.best_dev_eer = entry["dev_eer"]
        if entry["eval_min_tdcf_2019"] is not None and entry["eval_min_tdcf_2019"] < self.progress.best_eval_tdcf:
            self.progress.best_eval_tdcf = entry["eval_min_tdcf_2019"]
            self.progress.best_epoch, self.best = epoch, variables
        self.average = add_to_average(self.average, variables["params"])
        return True

    def _tdcf(self, trials: Trials) -> float | None:
        """The min t-DCF of 2019, or None where a collapsed model scores nearly all trials alike."""
        assert self.asv is not None
        try:
            return min_tdcf_2019(trials.bonafide, trials.spoof, self.asv)
        except ScoresError:
            return None

    def _select(self) -> tuple[str, Any, dict[str, Any]]:
        """Choose the final variables, and say what there was to choose from."""
        last = on_host({"params": self.state.params, "batch_stats": self.state.batch_stats})
        if self.config.train_config.selection == "published":
            candidates: dict[str, Any] = {
                "best_epoch_by_eval_tdcf": self.progress.best_epoch,
                "averaged": int(self.average.count),
            }
            if int(self.average.count) == 0:
                return "last epoch (no dev EER reached 1 %)", last, candidates
            return "average", self._averaged(), candidates
        averaged = self._averaged()
        trials = self._score(averaged, "dev", self.folder.scores / "dev_average.txt")
        eer = equal_error_rate(trials.bonafide, trials.spoof).eer
        candidates = {
            "best": {"epoch": self.progress.best_epoch, "dev_eer": self.progress.best_dev_eer},
            "average": {"epochs": int(self.average.count), "dev_eer": eer},
        }
        if eer <= self.progress.best_dev_eer:
            return "average", averaged, candidates
        return "best", self.best, candidates

    def _averaged(self) -> Any:
        """The averaged parameters with batch-norm statistics from one pass over the training data."""
        params = self.average.params
        variables = replicate({"params": params, "batch_stats": self.best["batch_stats"]})

        def statistics() -> Iterator[Any]:
            self.iterator.set_state({"next_batch": 0})
            for i in range(self.steps_per_epoch):
                self._stop_if_asked()
                wave = next(self.iterator)["wave"]
                keys = np.full(len(wave), i, np.int32)
                update = self.statistics_function(variables, split_over_devices({"wave": wave, "step": keys}))
                self.reporter.clips("batch-norm statistics", i + 1, self.steps_per_epoch)
                # Every device has the same statistics: batch norm spans them all.
                yield jax.tree.map(lambda x: np.asarray(x.addressable_data(0))[0], update)

        batch_stats = mean_statistics(self.best["batch_stats"], statistics())
        return {"params": params, "batch_stats": batch_stats}

    def _stop_if_asked(self) -> None:
        # The last checkpoint holds all steps: what comes after them is done anew.
        if any_host(self.signals.requested)[0]:
            raise StopRequested

    def _score(self, variables: Any, name: str, path: Path, *, may_stop: bool = False) -> Any:
        """Score a split and write the scores; None (with `may_stop`) where a signal came."""

        def should_stop() -> bool:
            return any_host(self.signals.requested)[0]

        try:
            trials = score_split(
                self.score_function,
                replicate(variables),
                self.splits[name],
                samples=self.config.model_config.nb_samp,
                batch_size=self.eval_batch_size,
                workers=self.config.data_config.workers,
                progress=lambda done, total: self.reporter.clips(f"scoring {name}", done, total),
                should_stop=should_stop,
            )
        except Exception:
            # The signal to stop may have ended workers not yet up.
            if not self.signals.requested:
                raise
            trials = None
        if trials is None:
            if may_stop:
                return None
            raise StopRequested
        if not np.isfinite(trials.scores).all():
            bad = trials.utterances[~np.isfinite(trials.scores)]
            raise TrainingError(f"split {name!r}: scores are not finite, first for {bad[0]}; the model has diverged")
        if self.folder.is_writer:
            with writing(path):
                write_scores(path, trials, "2019")
        return trials

    def _figures(self, trials: Trials) -> dict[str, Any]:
        """Pooled and per-attack EER of a split, and whether training saw each attack."""
        seen = {clip.attack for clip in self.train_split.utterances if clip.label == "spoof"}
        pooled = equal_error_rate(trials.bonafide, trials.spoof)
        attacks = {}
        for group in break_down(trials, "attack"):
            if group.eer is not None and group.value != "-":
                attacks[group.value] = {"eer": group.eer, "clips": group.n_spoof, "seen": group.value in seen}
        figures = {"eer": pooled.eer, "threshold": pooled.threshold, "attacks": attacks}
        for kind, wanted in (("seen", True), ("unseen", False)):
            names = [name for name, figure in attacks.items() if figure["seen"] is wanted]
            spoof = trials.scores[~trials.is_bonafide & np.isin(trials.columns["attack"], names)]
            if len(spoof):
                figures[f"eer_{kind}_attacks"] = equal_error_rate(trials.bonafide, spoof).eer
        return figures | {"bonafide": len(trials.bonafide), "spoof": len(trials.spoof)}

    def _config_hash(self) -> str:
        return hashlib.sha256(json.dumps(to_json(self.config), sort_keys=True).encode()).hexdigest()
