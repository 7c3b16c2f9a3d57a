"""What the training step takes: waves and the whole network, or stored features and the part behind a frozen one."""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from aasist_jax.augmentation import takes_other_clips
from aasist_jax.config import ExperimentConfig, to_json
from aasist_jax.data.feature_file import Computed, stored_features
from aasist_jax.data.feature_source import FeatureSource
from aasist_jax.data.feature_windows import Version, contents_of, window_batches
from aasist_jax.data.fingerprint import fingerprint
from aasist_jax.data.pipeline import ClipSource
from aasist_jax.data.splits import Split
from aasist_jax.errors import TrainingError
from aasist_jax.models.family import FrozenFront, family_of, window_of
from aasist_jax.models.network import Network, build_network
from aasist_jax.models.variables import Variables, put_part, take_part
from aasist_jax.runtime.progress import Progress
from aasist_jax.training.parallel import first_host_first, split_over_devices

FEATURES = 1
"""Increased whenever the same network and clips would give other features, as by a change of an augmentation."""

CLIPS_PER_DEVICE = 16
"""Clips whose features a device computes at once."""


@dataclass(frozen=True)
class StepInput:
    """What is trained, and on what.

    Attributes:
        splits: the data by split, of clips or of their stored features.
        variables: the variables of the network that `build` makes.
        frozen: those of the part before it; empty for a whole network.
        build: `build(dtype=..., axis_name=...)` makes the network.
    """

    splits: Mapping[str, Split]
    variables: Variables
    frozen: Variables
    build: Callable[..., Network]

    def whole(self, variables: Variables) -> Variables:
        """The variables of the whole network, given those that are trained here."""
        return put_part(self.frozen, variables) if self.frozen else variables


def frozen_front(config: ExperimentConfig) -> FrozenFront | None:
    """The part of the network whose output is to be stored; None where the configuration stores nothing.

    Raises:
        TrainingError: no part of the network is frozen, or a teacher wants waves.
    """
    if not config.data_config.features:
        return None
    if config.train_config.teacher:
        raise TrainingError(
            "data_config.features: stored features leave no waves for train_config.teacher; leave one of the two out"
        )
    front = family_of(config.model_config).frozen_front(config.model_config)
    if front is None:
        raise TrainingError(
            "data_config.features: only what is not trained can be stored; "
            "set model_config.freeze=encoder for a model on a pretrained encoder, or leave it out"
        )
    return front


def step_input(
    config: ExperimentConfig, splits: Mapping[str, Split], variables: Variables, sounds: Sequence[str]
) -> StepInput:
    """Compute and store the features of all clips, as far as they are not there; or leave everything as it is.

    Args:
        config: of the experiment; `data_config.features` says whether and where.
        splits: the clips by split; `train` gets its versions, the others their first windows.
        variables: of the whole network.
        sounds: the files that augmentation reads, see `aasist_jax.augmentation.prepare`.

    Raises:
        TrainingError: see `frozen_front`.
        DataError: the folder cannot be written, or features are not finite.
    """
    front = frozen_front(config)
    if front is None:
        return StepInput(splits, variables, {}, functools.partial(build_network, config.model_config))
    frozen, trained = take_part(variables, front.part)
    store = _Store(config, front, frozen, sounds)
    sources = {name: first_host_first(functools.partial(store.source, split)) for name, split in splits.items()}
    return StepInput(
        {name: replace(split, source=sources[name]) for name, split in splits.items()},
        trained,
        frozen,
        functools.partial(front.rest, sources["train"].versions[0].shape),
    )


class _Store:
    """Finds and computes the features of splits."""

    def __init__(self, config: ExperimentConfig, front: FrozenFront, frozen: Variables, sounds: Sequence[str]) -> None:
        self._config, self._front, self._sounds = config, front, sounds
        self._window = window_of(config.model_config)
        # Decoded clips in a cache are rounded to 16 bits.
        facts = (FEATURES, front.mark, _digest_of(frozen), config.train_config.dtype, bool(config.data_config.cache))
        self._facts: tuple[Any, ...] = facts
        # Brought to the device once, and not with every batch.
        self._frozen = jax.device_put(frozen)
        dtype, stored = jnp.dtype(config.train_config.dtype), jnp.dtype(front.stored_as)
        self._compute = jax.pmap(
            lambda variables, batch: front.compute(variables, batch["wave"], batch.get("length"), dtype).astype(stored),
            in_axes=(None, 0),
            devices=jax.local_devices(),
        )

    def source(self, split: Split) -> FeatureSource:
        """The features of a split."""
        clips, data = split.source, self._config.data_config
        assert isinstance(clips, ClipSource)
        numbers: Sequence[int | None] = range(data.augmented_versions) if split.name == "train" else [None]
        chain = data.augmentation if split.name == "train" else ()
        facts = [to_json(chain), *self._sounds] if chain else []
        if takes_other_clips(chain):
            facts.append(fingerprint(clips.utterances))
        key = hashlib.sha256(json.dumps([*self._facts, *facts]).encode()).hexdigest()[:32]
        contents = contents_of(clips.utterances)
        versions = []
        for number in numbers:
            version = Version(clips, contents, self._window, number, chain)
            what = f"features of {split.name}"
            if number is not None and len(numbers) > 1:
                what += f", version {number + 1} of {len(numbers)}"
            names = [version.name(i) for i in range(len(clips))]
            compute = functools.partial(self._batches, version, what)
            versions.append(stored_features(Path(data.features), key, self._front.stored_as, names, compute))
        return FeatureSource(clips.utterances, versions, not self._window.fixed)

    def _batches(self, version: Version, what: str, positions: list[int]) -> Iterator[Computed]:
        """Compute the features of clips, and show how fast."""
        size, done, began = CLIPS_PER_DEVICE * jax.local_device_count(), 0, time.monotonic()
        with Progress(lines="now and then") as progress:
            progress.update(what, 0, len(positions), unit="clips")
            for batch in window_batches(version, positions, size, self._config.data_config.workers):
                count = len(batch["wave"])
                # Programs have one shape: the last batch is filled up by its last clip.
                inputs: dict[str, np.ndarray] = {
                    name: np.concatenate([batch[name], np.repeat(batch[name][-1:], size - count, axis=0)])
                    for name in ("wave", "length")
                    if name in batch
                }
                features = np.asarray(self._compute(self._frozen, split_over_devices(inputs)))
                lengths = batch.get("length", np.full(count, self._window.samples, np.int32))
                yield features.reshape(size, *features.shape[2:])[:count], lengths
                done += count
                rate = done / (time.monotonic() - began)
                left = timedelta(seconds=round((len(positions) - done) / rate))
                progress.update(what, done, len(positions), unit="clips", note=f"{rate:.1f} clips/s, {left} left")
            progress.say(f"{what}: {done} clips at {done / (time.monotonic() - began):.1f} clips/s")


def _digest_of(variables: Variables) -> str:
    """The SHA-256 of names, types and values."""
    digest = hashlib.sha256()
    for path, value in sorted(flatten_dict(variables, sep="/").items()):
        array = np.ascontiguousarray(value)
        digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
