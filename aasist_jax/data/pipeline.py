"""From a list of utterances to batches: the Grain pipelines for training and evaluation.

Every batch is a dictionary of arrays with fixed shapes: `wave` float32 (batch, samples), `label` int32 (batch,) with 0
for spoof and 1 for bona fide, and `index` int32 (batch,), the clip's position in the list of utterances.

A clip shorter than a window is extended as `Window.first` says. For a network without fixed windows there is one more
array, `length` int32 (batch,): the number of samples at the start of each window that are valid.
"""

import bisect
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import grain
import numpy as np
from absl import flags
from jaxtyping import Float32

from aasist_jax.audio.load import load_audio
from aasist_jax.audio.windows import random_window
from aasist_jax.augmentation import Chain, augment, least_share
from aasist_jax.data.cache import ClipCache
from aasist_jax.data.feature_source import FeatureSource, OnlyVersion, VersionOfEpoch
from aasist_jax.data.labels import LABEL_INDEX
from aasist_jax.data.pairs import Alike, DrawnClips, InRow, Joined
from aasist_jax.data.sampling import Draw
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import AudioError, DataError
from aasist_jax.models.family import Window

Clip = dict[str, Any]
Batch = dict[str, np.ndarray]


class ClipSource:
    """Random access to whole clips: `{"wave": float32 (samples,), "label": int32, "index": int32}`.

    Raises DataError, which names the protocol line, if a clip cannot be decoded.
    """

    def __init__(self, utterances: Sequence[Utterance], cache: ClipCache | None = None):
        if cache is not None and len(cache) != len(utterances):
            raise DataError(f"the cache holds {len(cache)} clips, the list {len(utterances)}; build it anew")
        self.utterances = list(utterances)
        self.cache = cache

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: SupportsIndex) -> Clip:
        position = int(index)
        label = LABEL_INDEX[self.utterances[position].label]
        return {"wave": self.wave(position), "label": np.int32(label), "index": np.int32(position)}

    def wave(self, position: int) -> Float32[np.ndarray, "samples"]:
        """The samples of the clip at a position."""
        if self.cache is not None:
            return self.cache[position]
        utterance = self.utterances[position]
        try:
            return load_audio(utterance.path)
        except AudioError as error:
            raise DataError(f"{utterance.origin}: {error}") from error


@dataclass(frozen=True)
class OtherVoices:
    """The waves of bona fide clips but for one; what babble behind that one is made of.

    Spoofed clips are left out: a bona fide clip must not have traces of synthesis in its background.

    Attributes:
        source: all clips.
        positions: of the bona fide ones, in order.
        left_out: which of the positions is left out, from 0; none if it is their number.
    """

    source: ClipSource
    positions: Sequence[int]
    left_out: int

    @staticmethod
    def of(source: ClipSource) -> "OtherVoices":
        """All bona fide clips."""
        positions = [i for i, clip in enumerate(source.utterances) if clip.label == "bonafide"]
        return OtherVoices(source, positions, len(positions))

    def without(self, position: int) -> "OtherVoices":
        """All bona fide clips but the one at a position, if it is one."""
        at = bisect.bisect_left(self.positions, position)
        is_there = at < len(self.positions) and self.positions[at] == position
        return OtherVoices(self.source, self.positions, at if is_there else len(self.positions))

    def __len__(self) -> int:
        return len(self.positions) - (self.left_out < len(self.positions))

    def __getitem__(self, number: int) -> Float32[np.ndarray, "samples"]:
        return self.source.wave(self.positions[number + (number >= self.left_out)])


@dataclass(frozen=True)
class Augment(grain.transforms.RandomMap):
    """Apply a chain of augmentations to a random piece of each clip.

    The piece is long enough for a window also after the kinds that shorten it, and no longer, since augmenting a whole
    long clip to use a window of it would take long.
    """

    chain: Chain
    window: Window
    voices: OtherVoices

    def random_map(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with its wave changed."""
        wave, samples = clip["wave"], math.ceil(self.window.samples / least_share(self.chain))
        if wave.size > samples:
            wave = random_window(wave, samples, rng)
        # Behind a copy the same voices speak as behind its original.
        others = self.voices.without(int(clip["original" if "original" in clip else "index"]))
        return clip | {"wave": augment(wave, self.chain, rng, others)[0]}


@dataclass(frozen=True)
class RandomCrop(grain.transforms.RandomMap):
    """Crop each clip to a window from a random start; a shorter clip is extended."""

    window: Window

    def random_map(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with its wave cropped by `random_window`, or extended."""
        wave = clip["wave"]
        if wave.size > self.window.samples:
            wave = random_window(wave, self.window.samples, rng)
        return clip | _first_window(wave, self.window)


@dataclass(frozen=True)
class FirstWindow(grain.transforms.Map):
    """The first window of the clip at a position, or silence for a position after the last clip."""

    source: ClipSource
    window: Window

    def map(self, position: int) -> Clip:
        """The clip with its wave cropped or extended, and `valid`: whether there is a clip at this position."""
        valid = position < len(self.source)
        silence: Clip = {"wave": np.zeros(self.window.samples, np.float32), "label": np.int32(0), "index": np.int32(-1)}
        clip = self.source[position] if valid else silence
        return clip | _first_window(clip["wave"], self.window) | {"valid": np.bool_(valid)}


def _first_window(wave: Float32[np.ndarray, "samples"], window: Window) -> Clip:
    cut, length = window.first(wave)
    return {"wave": cut} if length is None else {"wave": cut, "length": np.int32(length)}


def train_dataset(
    source: ClipSource | FeatureSource,
    *,
    window: Window,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    epochs: int | None = None,
    workers: int = 0,
    augmentation: Chain = (),
    draw: Draw | None = None,
) -> "TrainDataset":
    """Shuffled batches of random crops, the same for any number of processes and workers.

    Every epoch has a different order, other augmentation and other crops, all drawn from `seed`; its last partial batch
    is dropped. With a draw of pairs, each copy follows its original in the batch, augmented and cropped alike. A global
    batch is split into contiguous parts: process p of P gets rows p*batch_size/P to (p+1)*batch_size/P - 1.

    Args:
        source: the clips, or their features in versions that take turns with the epochs.
        window: the input window of the network; without fixed windows, batches have the array `length`.
        batch_size: size of the global batch, over all processes.
        seed: 0 to 2**32 - 1.
        process_index: index of this process.
        process_count: number of processes; must divide `batch_size`.
        epochs: number of epochs; None for no end.
        workers: decoding processes; 0 decodes in threads of this process.
        augmentation: what is done to clips before the crop, since some kinds change the length.
        draw: the draw of `make_draw` for these clips and this `batch_size`; None for every clip once.

    Raises:
        DataError: there are fewer clips than a batch needs, or `process_count` does not divide `batch_size`, or its
            pairs.
    """
    if len(source) < batch_size:
        raise DataError(f"{len(source)} training clips do not fill one batch of {batch_size}; lower the batch size")

    steps, in_pairs = len(source) // batch_size, draw is not None and draw.is_of_pairs
    clips = (
        grain.MapDataset.source(source).seed(seed).shuffle()
        if draw is None
        else DrawnClips(source.__getitem__, draw).seed(seed)
    )
    if isinstance(source, FeatureSource):
        clips, workers = clips.map_with_index(VersionOfEpoch(source, len(clips))), 0
    else:
        augmented = [Augment(augmentation, window, OtherVoices.of(source))] if augmentation else []
        for change in (*augmented, RandomCrop(window)):
            clips = clips.random_map(Alike(change) if in_pairs else change)
    if in_pairs:
        if batch_size % (2 * process_count):
            raise DataError(
                f"the pairs of a batch of {batch_size} cannot be shared evenly by {process_count} processes"
            )
        pairs = _local_batches(clips.map(Joined()), steps, batch_size // 2, process_index, process_count)
        local = pairs.map(InRow())
    else:
        local = _local_batches(clips, steps, batch_size, process_index, process_count)
    return TrainDataset(local.repeat(epochs), steps, workers)


class TrainDataset(grain.IterDataset):
    """The result of `train_dataset`; `iter()` starts at the first batch."""

    def __init__(self, batches: grain.MapDataset, steps_per_epoch: int, workers: int):
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self._batches = batches
        self._workers = workers

    def __iter__(self) -> "TrainIterator":
        return TrainIterator(self._batches, self._workers)


class TrainIterator(grain.DatasetIterator):
    """Iterates over batches from any position; the position is the whole state.

    Every batch depends only on the seed and its position. So, unlike Grain's own iterator state, this state stays valid
    for another number of workers, and of processes with the same global batch size. Call `close()` at the end; it ends
    the workers.
    """

    def __init__(self, batches: grain.MapDataset, workers: int):
        super().__init__()
        self._batches = batches
        self._workers = workers
        self._next_batch = 0
        self._rest: grain.DatasetIterator | None = None

    def __next__(self) -> Batch:
        if self._rest is None:
            self._rest = iter(prefetched(self._batches[self._next_batch :], self._workers))
        batch = next(self._rest)
        self._next_batch += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """The state as JSON values: the number of batches returned so far."""
        return {"next_batch": self._next_batch}

    def set_state(self, state: Any) -> None:
        """Continue after the batch after which `state` was taken.

        Raises:
            DataError: `state` is not a state of this iterator.
        """
        position = state.get("next_batch") if isinstance(state, dict) else None
        if not isinstance(position, int) or not 0 <= position <= len(self._batches):
            raise DataError(f"{state!r} is no state of the input pipeline; resume from another checkpoint")
        self.close()
        self._next_batch = position

    def close(self) -> None:
        """End the workers."""
        if self._rest is not None:
            self._rest.close()
            self._rest = None


def eval_dataset(
    source: ClipSource | FeatureSource,
    *,
    window: Window,
    batch_size: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
) -> grain.IterDataset:
    """The first window of every clip, once and in order, in batches of one fixed shape.

    One more array, `valid` bool (batch,), is False for the rows that fill up the last batch: silence with the index -1.
    If there are lengths, such a row has the length of a whole window, so that dividing by it is safe. Processes share a
    global batch as in `train_dataset`.

    Args:
        source: the clips, or their features.
        window: as in `train_dataset`.
        batch_size: size of the global batch, over all processes.
        start: position of the first clip.
        process_index: index of this process.
        process_count: number of processes; must divide `batch_size`.
        workers: decoding processes; 0 decodes in threads of this process.

    Raises:
        DataError: `process_count` does not divide `batch_size`.
    """
    steps = -(-(len(source) - start) // batch_size)
    of_features = isinstance(source, FeatureSource)
    first = OnlyVersion(source) if of_features else FirstWindow(source, window)
    clips = grain.MapDataset.range(start, start + steps * batch_size).map(first)
    local = _local_batches(clips, steps, batch_size, process_index, process_count)
    return prefetched(local, 0 if of_features else workers)


def _local_batches(
    clips: grain.MapDataset, steps: int, batch_size: int, process_index: int, process_count: int
) -> grain.MapDataset:
    """This process's part of each of the `steps` global batches of an epoch."""
    part, rest = divmod(batch_size, process_count)
    if rest:
        raise DataError(f"a batch of {batch_size} cannot be shared evenly by {process_count} processes")
    return clips.batch(part, drop_remainder=True)[process_index : steps * process_count : process_count]


def prefetched(batches: grain.MapDataset, workers: int) -> grain.IterDataset:
    """Prefetch a few batches; each may take megabytes, so Grain's default of 500 is too many."""
    threads = max(1, (os.cpu_count() or 1) // max(workers, 1))
    dataset = batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads))
    if workers == 0:
        return dataset
    if not flags.FLAGS.is_parsed():  # Grain reads an absl flag here, and only absl.app parses these
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
    return dataset.mp_prefetch(options, worker_init_fn=_follow_parent)


def _follow_parent(index: int, count: int) -> None:
    """Make a decoding process end only when its parent process tells it to or has ended."""
    # Ctrl-C in a terminal signals every process, but batches are still needed until the checkpoint is saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        # A parent that is killed cannot tell its workers, and Grain's worker would wait forever.
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
