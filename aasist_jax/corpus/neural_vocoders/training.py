"""Trains a vocoder on speech. A run that was killed goes on from its last minute, to the same weights bit by bit."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.augmentation.sound.levels import level_of
from aasist_jax.corpus.neural_vocoders.discriminator import PeriodDiscriminator
from aasist_jax.corpus.neural_vocoders.losses import (
    Scalar,
    discriminator_loss,
    feature_distance,
    generator_loss,
)
from aasist_jax.corpus.neural_vocoders.mel import HOP
from aasist_jax.errors import DataError
from aasist_jax.runtime.files import remove_unfinished, replacing

CHECKPOINT = "training.safetensors"
SECONDS_BETWEEN_CHECKPOINTS = 60.0

LEVEL = -25.0
"""The level of speech, in dB, at which vocoders are trained and used."""

_SCORES, _FEATURES = 0.05, 0.1
"""Weights of a discriminator's scores and layers beside the distance of spectra."""

_FORMAT = 2
"""Of the training and its checkpoint; increased whenever the same settings and speech would give other weights."""

_GAIN = 6.0
_SHORT = 8 * HOP
_BETAS = (0.8, 0.99)


@dataclass(frozen=True)
class TrainingSettings:
    """How a vocoder is trained; the same settings and speech give the same weights, on the same processor.

    Attributes:
        steps: of the optimizer.
        batch: crops of a step.
        frames: length of a crop, in frames of 16 ms; an even number, 8 at least.
        learning_rate: the highest; it rises over the first tenth of the steps, 100 at most, and falls to 0 by half a
            cosine. The discriminator's does the same over the steps that there is one.
        adversarial_from: the share of steps after which there is a discriminator; 1: never.
        seed: of weights, crops and noise.
    """

    steps: int
    batch: int = 8
    frames: int = 64
    learning_rate: float = 1e-3
    adversarial_from: float = 1.0
    seed: int = 0


class State(NamedTuple):
    """Everything that a step changes."""

    step: Any
    vocoder: Any
    discriminator: Any
    vocoder_optimizer: Any
    discriminator_optimizer: Any


class Report(NamedTuple):
    """What is told after a step: how many are done of how many, and the losses of this one by name."""

    done: int
    steps: int
    losses: dict[str, float]


def at_level(wave: Wave) -> tuple[Float[np.ndarray, "samples"], float]:
    """A wave at the level at which vocoders take it, and the factor that this took; silence as it is."""
    level = level_of(wave)
    gain = 10 ** ((LEVEL - level) / 20) if level > -100 else 1.0
    return wave * gain, gain


def crops(speech: Sequence[OtherWave], settings: TrainingSettings, step: int) -> Float[np.ndarray, "batch samples"]:
    """The batch of a step, float32: from clips drawn at random, each at a random gain of up to 6 dB either way."""
    rng = np.random.default_rng([settings.seed, step])
    length = settings.frames * HOP
    batch = np.zeros((settings.batch, length), np.float32)
    for row in batch:
        clip = speech[int(rng.integers(len(speech)))]
        start = int(rng.integers(max(clip.size - length, 0) + 1))
        piece = clip[start : start + length]
        row[: piece.size] = piece * 10 ** (rng.uniform(-_GAIN, _GAIN) / 20)
    return batch


def train(
    vocoder: nn.Module,
    settings: TrainingSettings,
    speech: Sequence[OtherWave],
    folder: Path,
    report: Callable[[Report], None] = lambda report: None,
) -> Any:
    """Train, or go on from the checkpoint in a folder; it stays there.

    Args:
        vocoder: the network, see `kinds.Kind`.
        settings: how it is trained.
        speech: clips at 16 kHz, float32, at the level of `at_level`; those shorter than a crop are filled
            with silence.
        folder: where a checkpoint is written every minute and at the end; made if needed.
        report: called after every step.

    Returns:
        The trained parameters.

    Raises:
        DataError: there is no speech, the checkpoint is of another run, or a loss or parameter is not finite.
    """
    if not speech:
        raise DataError("no speech to train a vocoder on")
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    run = _identity(vocoder, settings, speech)
    state = initial_state(vocoder, settings)
    checkpoint = folder / CHECKPOINT
    if checkpoint.is_file():
        state = _restored(checkpoint, state, run)
    make_step = {adversarial: _make_step(vocoder, settings, adversarial) for adversarial in (False, True)}
    saved = time.monotonic()
    for number in range(int(state.step), settings.steps):
        take_step = make_step[number >= _first_adversarial(settings)]
        state, arrays = take_step(state, crops(speech, settings, number))
        losses = {name: float(value) for name, value in arrays.items()}
        _check_finite(all(map(math.isfinite, losses.values())), number + 1, "the loss")
        report(Report(number + 1, settings.steps, losses))
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            _save(checkpoint, state, run)
            saved = time.monotonic()
    _save(checkpoint, state, run)
    return jax.device_get(state.vocoder)


def _check_finite(finite: bool, step: int, what: str) -> None:
    if not finite:
        raise DataError(f"step {step}: {what} is not finite; give other speech or another seed")


def initial_state(vocoder: nn.Module, settings: TrainingSettings) -> State:
    """The state before the first step."""
    keys = jax.random.split(jax.random.key(settings.seed))
    parameters = initial_parameters(vocoder, keys[0])
    judge = PeriodDiscriminator().init(keys[1], jnp.zeros((1, _SHORT))) if settings.adversarial_from < 1 else {}
    of_vocoder, of_judge = _optimizers(settings)
    return State(jnp.zeros((), jnp.int32), parameters, judge, of_vocoder.init(parameters), of_judge.init(judge))


def initial_parameters(vocoder: nn.Module, key: Array) -> Any:
    """The parameters before training."""
    # Not by `jax.jit`: to compile the drawing of all of them as one program takes minutes.
    return vocoder.init({"params": key, "noise": key}, jnp.zeros((1, _SHORT)), method="loss")


def _first_adversarial(settings: TrainingSettings) -> int:
    """The first step with a discriminator, from 0; as many as there are steps if none has one."""
    return min(settings.steps, math.ceil(settings.adversarial_from * settings.steps))


def _optimizers(settings: TrainingSettings) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """Of the vocoder, and of the discriminator, whose steps are fewer."""
    judged = max(1, settings.steps - _first_adversarial(settings))
    return _optimizer(settings.learning_rate, settings.steps), _optimizer(settings.learning_rate, judged)


def _optimizer(rate: float, steps: int) -> optax.GradientTransformation:
    rates = optax.warmup_cosine_decay_schedule(0.0, rate, min(100, steps // 10), steps)
    return optax.chain(optax.clip_by_global_norm(10.0), optax.adamw(rates, *_BETAS, weight_decay=0.01))


def _make_step(
    vocoder: nn.Module, settings: TrainingSettings, adversarial: bool
) -> Callable[[State, Any], tuple[State, dict[str, Array]]]:
    optimizer, judge_optimizer = _optimizers(settings)
    # `Any`, because Flax cannot know what type the module returns.
    judged_by: Any = PeriodDiscriminator().apply

    def loss_of(parameters: Any, discriminator: Any, waves: Array, key: Array) -> tuple[Scalar, tuple[Any, Any]]:
        loss, made = vocoder.apply(parameters, waves, rngs={"noise": key}, method="loss")
        parts = {"reconstruction": loss}
        if adversarial:
            of_made, of_real = judged_by(discriminator, made), judged_by(discriminator, waves)
            parts |= {"scores": generator_loss(of_made), "features": feature_distance(of_real, of_made)}
            loss = loss + _SCORES * parts["scores"] + _FEATURES * parts["features"]
        return loss, (parts, made)

    def judging_loss(discriminator: Any, made: Array, waves: Array) -> Scalar:
        return discriminator_loss(judged_by(discriminator, waves), judged_by(discriminator, made))

    @partial(jax.jit, donate_argnums=0)
    def step(state: State, waves: Array) -> tuple[State, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(settings.seed), state.step)
        gradient, (parts, made) = jax.grad(loss_of, has_aux=True)(state.vocoder, state.discriminator, waves, key)
        changes, of_vocoder = optimizer.update(gradient, state.vocoder_optimizer, state.vocoder)
        discriminator, of_judge = state.discriminator, state.discriminator_optimizer
        if adversarial:
            parts["discriminator"], gradient = jax.value_and_grad(judging_loss)(discriminator, made, waves)
            judged, of_judge = judge_optimizer.update(gradient, of_judge, discriminator)
            discriminator = optax.apply_updates(discriminator, judged)
        parameters = optax.apply_updates(state.vocoder, changes)
        return State(state.step + 1, parameters, discriminator, of_vocoder, of_judge), parts

    return step


def _identity(vocoder: nn.Module, settings: TrainingSettings, speech: Sequence[OtherWave]) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {vocoder!r} {settings!r}".encode())
    for clip in speech:
        digest.update(clip.tobytes())
    return digest.hexdigest()


def _named_leaves(state: State) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _save(path: Path, state: State, run: str) -> None:
    finite = all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.vocoder))
    _check_finite(finite, int(state.step), "a parameter")
    with replacing(path) as scratch:
        save_file({name: np.asarray(leaf) for name, leaf in _named_leaves(state).items()}, scratch, {"run": run})


def _restored(path: Path, state: State, run: str) -> State:
    try:
        with safe_open(path, "numpy") as file:
            found, names = (file.metadata() or {}).get("run"), file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise DataError(f"{path}: damaged ({error}); remove it, and training begins anew") from None
    leaves = _named_leaves(state)
    shapes = {name: leaf.shape for name, leaf in leaves.items()}
    if found != run or shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        raise DataError(
            f"{path}: of another run (settings, speech or this program have changed); remove it, and training begins "
            "anew"
        )
    return jax.tree.unflatten(jax.tree.structure(state), [tensors[name] for name in leaves])
