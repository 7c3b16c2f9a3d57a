"""Trained vocoders: the folder that one is kept in, and copy synthesis by it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import msgspec
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.corpus.neural_vocoders.kinds import KINDS
from aasist_jax.corpus.neural_vocoders.mel import HOP
from aasist_jax.corpus.neural_vocoders.spectra import log_mel
from aasist_jax.corpus.neural_vocoders.training import (
    CHECKPOINT,
    Report,
    TrainingSettings,
    at_level,
    initial_parameters,
    train,
)
from aasist_jax.errors import DataError
from aasist_jax.runtime.files import replacing, write_text

CONFIG, MODEL = "config.json", "model.safetensors"
_FORMAT = 1
_FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class _Description:
    format: int
    kind: str
    config: dict[str, Any]
    training: TrainingSettings


def train_vocoder(
    kind: str,
    settings: TrainingSettings,
    speech: Sequence[OtherWave],
    folder: Path,
    report: Callable[[Report], None] = lambda report: None,
    config: Any = None,
) -> None:
    """Train a vocoder and write its folder: `config.json` and `model.safetensors`. A killed run is gone on with.

    Args:
        kind: one of `KINDS`.
        settings: how it is trained.
        speech: clips at 16 kHz, float32, at any level.
        folder: written into; what it holds of an unfinished run is removed at the end.
        report: called after every step.
        config: its sizes; those of the large corpus unless given.

    Raises:
        DataError: there is no speech, the folder holds an unfinished run of other settings or speech, or the training
            diverged.
    """
    config = KINDS[kind].config() if config is None else config
    levelled = [at_level(clip.astype(np.float64))[0].astype(np.float32) for clip in speech]
    parameters = train(KINDS[kind].network(config), settings, levelled, folder, report)
    flat = flatten_dict(parameters, sep="/")
    with replacing(folder / MODEL) as scratch:
        save_file({name: np.ascontiguousarray(value) for name, value in flat.items()}, scratch)
    description = {"format": _FORMAT, "kind": kind, "config": asdict(config), "training": asdict(settings)}
    write_text(folder / CONFIG, msgspec.json.format(msgspec.json.encode(description), indent=2).decode() + "\n")
    (folder / CHECKPOINT).unlink(missing_ok=True)


def is_trained(folder: Path) -> bool:
    """Whether a folder holds a trained vocoder; its `config.json` is written last."""
    return (folder / CONFIG).is_file() and (folder / MODEL).is_file()


def copy_by(folder: Path, wave: Wave, rng: np.random.Generator) -> Float[np.ndarray, " samples"]:
    """Copy synthesis by the trained vocoder of a folder; a wave at 16 kHz of the same length.

    The vocoder is given the wave at the level of its training, and the copy is changed back by the same factor; its own
    level is what the vocoder makes of it.

    Raises:
        DataError: there is no trained vocoder, it is damaged, or what it makes is not finite.
    """
    apply, parameters = _loaded(folder)
    at_its_level, gain = at_level(wave)
    # Few lengths, so that the network is compiled for few; what is added is silence.
    padded = np.pad(at_its_level, (0, -wave.size % (_FRAMES_AT_ONCE * HOP))).astype(np.float32)
    made = apply(parameters, padded[None], jax.random.key(int(rng.integers(2**31))))
    copy = np.asarray(made, np.float64)[0, : wave.size] / gain
    if not np.all(np.isfinite(copy)):
        raise DataError(f"{folder}: what the vocoder makes is not finite; train it anew")
    return copy


def kind_of(folder: Path) -> str:
    """The kind of the trained vocoder of a folder, one of `KINDS`.

    Raises:
        DataError: there is no trained vocoder, or its description is damaged.
    """
    return _described(folder).kind


def _described(folder: Path) -> _Description:
    if not is_trained(folder):
        raise DataError(f"{folder}: no trained vocoder there ({CONFIG}, {MODEL})")
    try:
        found = msgspec.json.decode((folder / CONFIG).read_bytes(), type=_Description)
    except msgspec.MsgspecError as error:
        raise DataError(f"{folder / CONFIG}: damaged ({error}); train the vocoder anew") from None
    if found.format != _FORMAT or found.kind not in KINDS:
        raise DataError(f"{folder / CONFIG}: format {found.format}, kind {found.kind!r}: not known here")
    return found


def check_trained(folder: Path) -> None:
    """Check that a folder holds a trained vocoder, its description and its weights being whole.

    Raises:
        DataError: there is none, or it is damaged.
    """
    _read(folder)


def _read(folder: Path) -> tuple[nn.Module, dict[str, np.ndarray]]:
    found = _described(folder)
    try:
        vocoder = KINDS[found.kind].network(msgspec.convert(found.config, KINDS[found.kind].config))
        tensors = load_file(folder / MODEL)
    except (msgspec.MsgspecError, SafetensorError) as error:
        raise DataError(f"{folder}: damaged ({error}); train the vocoder anew") from None

    expected = jax.eval_shape(lambda: initial_parameters(vocoder, jax.random.key(0)))
    wanted = {name: (leaf.shape, leaf.dtype) for name, leaf in flatten_dict(expected, sep="/").items()}
    if wanted != {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}:
        raise DataError(f"{folder}: the tensors of {MODEL} are not those of {CONFIG}; train the vocoder anew")
    if broken := [name for name, tensor in tensors.items() if not np.all(np.isfinite(tensor))]:
        raise DataError(f"{folder / MODEL}: {broken[0]} is not finite; train the vocoder anew")
    return vocoder, tensors


@cache
def _loaded(folder: Path) -> tuple[Callable[..., Any], Any]:
    vocoder, tensors = _read(folder)

    @jax.jit
    def apply(parameters: Any, waves: Any, key: Any) -> Any:
        return vocoder.apply(parameters, log_mel(waves), rngs={"noise": key})

    return apply, jax.device_put(unflatten_dict(tensors, sep="/"))
