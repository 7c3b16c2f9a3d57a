"""Makes everything that a run needs and never changes: data, compiled functions, identity."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aasist_jax.augmentation import prepare
from aasist_jax.config import ExperimentConfig, to_json
from aasist_jax.data.feature_source import FeatureSource
from aasist_jax.data.labels import record_labels
from aasist_jax.data.pipeline import ClipSource, TrainDataset, train_dataset
from aasist_jax.data.sampling import Draw, make_draw
from aasist_jax.data.splits import Split, has_split, open_splits
from aasist_jax.encoders.readers import is_encoder, read_encoder
from aasist_jax.errors import TrainingError, WeightsError
from aasist_jax.models.family import Family, family_of, window_of
from aasist_jax.models.network import Network
from aasist_jax.models.variables import Variables
from aasist_jax.training.averaging import make_state_step
from aasist_jax.training.distillation import TeacherFunction, distilling, make_teacher
from aasist_jax.training.front import StepInput, frozen_front, step_input
from aasist_jax.training.identity import differences, run_identity
from aasist_jax.training.loss import loss_of
from aasist_jax.training.optimizer import check_rates, frozen_by, learning_rate, make_optimizer, never_trained
from aasist_jax.training.parallel import (
    AXIS,
    check_batch_is_filled,
    check_batch_size,
    first_host_first,
    on_host,
    parallel_map,
    parallel_step,
)
from aasist_jax.training.scoring import ScoreFunction, make_score_function
from aasist_jax.training.state import RunState, first_state
from aasist_jax.training.step import init_state, make_train_step, random_variables
from aasist_jax.weights.folder import load_weights


@dataclass(frozen=True)
class TrainingSetup:
    """The data and the compiled functions of a run.

    Attributes:
        config: configuration of the experiment.
        splits: the data by split: train, dev, and eval if the data set has one.
        clip_numbers: arrays from `record_labels` for the training clips if the family has its own loss; else empty.
        identity: the values that must be the same when the run is resumed.
        batches: the training batches, epoch after epoch.
        schedule: the learning rate by step, from 0.
        step_function: `step(state, batch)`, one training step on all devices.
        teacher_function: adds the logits of the teacher to a batch; None without one.
        state_function: see `make_state_step`; on all devices. None if the family keeps the last state.
        score_function: see `make_score_function`.
        whole: gives the variables of the whole network, given those that are trained.
    """

    config: ExperimentConfig
    splits: Mapping[str, Split]
    clip_numbers: Mapping[str, np.ndarray]
    identity: dict[str, Any]
    batches: TrainDataset
    schedule: Callable[[int], Any]
    step_function: Callable[..., Any]
    teacher_function: TeacherFunction | None
    state_function: Callable[..., Any] | None
    score_function: ScoreFunction
    whole: Callable[[Variables], Variables]

    @property
    def family(self) -> Family:
        """The family of the configured network."""
        return family_of(self.config.model_config)

    @property
    def steps_per_epoch(self) -> int:
        """Steps per epoch: as many as every clip once would fill, without a last, partial batch."""
        return self.batches.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""
        return self.steps_per_epoch * self.config.num_epochs

    @property
    def eval_batch_size(self) -> int:
        """Clips per evaluation batch, over all devices."""
        return self.config.train_config.eval_batch_size or self.config.batch_size


def set_up(config: ExperimentConfig, folder: Path) -> tuple[TrainingSetup, RunState]:
    """Check the data and make everything that a run needs, and its state before the first step.

    Args:
        config: configuration of the experiment.
        folder: folder of the run; records which clips have been checked.

    Raises:
        TrainingError: batches do not fit the devices or the clips, `freeze` or `rates` name no parameter, or features
            are to be stored of what is trained.
        DataError: clips are missing or unreadable.
        AudioError: a kind of augmentation lacks a package, a program or its files.
        WeightsError: the weights that `init` or `teacher` names cannot be read, or those of `init` have another
            architecture.
    """
    options = config.train_config
    check_batch_size(config.batch_size, "batch_size", options.accumulation)
    check_batch_size(options.eval_batch_size or config.batch_size, "train_config.eval_batch_size")
    frozen_front(config)
    names = ["train", "dev"] + (["eval"] if options.score_eval and has_split(config, "eval") else [])
    clips = open_splits(config, names, folder, is_writer=jax.process_index() == 0, one_host_first=first_host_first)
    sounds = prepare(config.data_config.augmentation)
    check_batch_is_filled(len(clips["train"].utterances), config.batch_size, options.accumulation)
    variables, init = _first_variables(config)
    # What can be refused is, before features are computed for minutes; and patterns name what is frozen as well.
    draw = _draw_of(config, clips["train"])
    frozen = frozen_by(options.freeze, variables["params"])
    check_rates(config.optim_config, variables["params"])
    given = step_input(config, clips, variables, sounds)
    variables, splits = given.variables, given.splits
    batches = _training_batches(config, splits["train"].source, draw)
    total_steps = batches.steps_per_epoch * config.num_epochs
    params, untouched = variables["params"], never_trained(config.model_config)
    optimizer = make_optimizer(config.optim_config, total_steps, params, lambda path: untouched(path) or path in frozen)
    family = family_of(config.model_config)
    teacher, taught_by = make_teacher(options.teacher) if options.teacher else (None, "")
    # The fingerprints of the data do not say which clip is a copy of which.
    marks = {"pairs": draw.mark() if draw and draw.is_of_pairs else "", "teacher": taught_by}
    setup = TrainingSetup(
        config=config,
        splits=splits,
        # Only a family's own loss uses more than the label.
        clip_numbers={} if family.loss is None else record_labels(splits["train"].utterances),
        identity=run_identity(config, splits, init, sounds, {name: mark for name, mark in marks.items() if mark}),
        batches=batches,
        schedule=learning_rate(config.optim_config, total_steps),
        step_function=_step_function(config, family, given, optimizer, frozen),
        teacher_function=teacher,
        state_function=_state_function(config, family, given),
        score_function=make_score_function(config.model_config, given.build(dtype=jnp.dtype(options.dtype))),
        whole=given.whole,
    )
    return setup, first_state(init_state(variables, optimizer, ema=options.ema > 0), variables)


def _step_function(
    config: ExperimentConfig, family: Family, given: StepInput, optimizer: Any, frozen: Collection[str]
) -> Callable[..., Any]:
    """One training step on all devices."""
    options, loss = config.train_config, loss_of(family)
    if options.teacher:
        loss = distilling(loss, family.bonafide_index, options.teacher_weight)
    step = make_train_step(
        _training_network(config, family, given),
        optimizer,
        class_weights=options.class_weights,
        loss=loss,
        accumulation=options.accumulation,
        seed=options.seed,
        frozen=frozen,
        ema=options.ema,
        axis_name=AXIS,
    )
    return parallel_step(step)


def _draw_of(config: ExperimentConfig, train: Split) -> Draw | None:
    """The draw that says which clips an epoch has."""
    options = config.train_config
    return make_draw(
        train.utterances,
        balance=options.balance,
        pairs=options.pairs,
        batch_size=config.batch_size,
        seed=options.seed,
    )


def _training_batches(config: ExperimentConfig, source: ClipSource | FeatureSource, draw: Draw | None) -> TrainDataset:
    """The batches of this process, epoch after epoch."""
    return train_dataset(
        source,
        window=window_of(config.model_config),
        batch_size=config.batch_size,
        seed=config.train_config.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        workers=config.data_config.workers,
        augmentation=config.data_config.augmentation,
        draw=draw,
    )


def _training_network(config: ExperimentConfig, family: Family, given: StepInput) -> Network:
    """Build the network for the training step, with the augmentation that is part of the network."""
    if config.freq_aug and not family.masks_filters:
        raise TrainingError(f"freq_aug: {family.name} has no filters to mask; leave it false")
    augmentation = {"freq_aug": True} if config.freq_aug else {}
    dtype = jnp.dtype(config.train_config.dtype)
    return given.build(dtype=dtype, axis_name=AXIS, **augmentation)


def _state_function(config: ExperimentConfig, family: Family, given: StepInput) -> Callable[..., Any] | None:
    if family.state_estimate is None:
        return None
    options = config.train_config
    network = given.build(dtype=jnp.dtype(options.dtype), axis_name=AXIS)
    step = make_state_step(network, family.state_estimate.start, seed=options.seed, axis_name=AXIS)
    return parallel_map(step)


def _first_variables(config: ExperimentConfig) -> tuple[Variables, str]:
    """The initial variables (random, or the weights that `init` names), and a text that says where they come from."""
    model, options = config.model_config, config.train_config
    if not options.init:
        return on_host(random_variables(model, options.seed)), f"seed {options.seed}"
    family = family_of(model)
    if family.encoder_config is not None and is_encoder(options.init):
        return _with_pretrained_encoder(config, family.encoder_config(model))
    from aasist_jax.weights.published import find_weights

    weights = load_weights(find_weights(options.init))
    fits = type(weights.config) is type(model)
    # The window length may differ from that of the weights.
    if fits:
        window = {name: getattr(model, name) for name in family.window_fields}
        fits = dataclasses.replace(weights.config, **window) == model
    if not fits:
        raise WeightsError(
            f"{options.init}: its architecture differs from the configuration's: "
            + "; ".join(differences(to_json(weights.config), to_json(model)))
        )
    return weights.variables, weights.tensors_id


def _with_pretrained_encoder(config: ExperimentConfig, expected: Any) -> tuple[Variables, str]:
    """Random variables whose part `encoder` has the values of the file that `init` names, in the types of training."""
    options = config.train_config
    pretrained = read_encoder(options.init)
    if pretrained.config != expected:
        raise WeightsError(
            f"{options.init}: its encoder differs from the configuration's: "
            + "; ".join(differences(to_json(pretrained.config), to_json(expected)))
        )
    variables = on_host(random_variables(config.model_config, options.seed))
    joined = {
        kind: {**tree, "encoder": jax.tree.map(_in_type_of, tree["encoder"], pretrained.variables[kind])}
        if "encoder" in tree
        else tree
        for kind, tree in variables.items()
    }
    return joined, f"seed {options.seed}, encoder {pretrained.source.sha256}"


def _in_type_of(drawn: Any, read: Any) -> np.ndarray:
    """What was read, such as float64 from quantised weights, in the type of what was drawn."""
    return np.asarray(read, drawn.dtype)
