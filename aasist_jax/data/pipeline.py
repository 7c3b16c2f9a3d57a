"""From a list of utterances to batches: the Grain pipelines for training and evaluation.

Every batch is a dictionary of arrays with a fixed shape: `wave` float32 (batch, samples), `label` int32 (batch,) with
0 spoof and 1 bona fide, `index` int32 (batch,), the clip's position in the list of utterances.

A clip shorter than a window is filled up, by repeating it or with zeros. With zeros there is one more array, `length`
int32 (batch,): how many samples of each window are the clip's own, from its start on.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex

import grain
import numpy as np
from absl import flags
from jaxtyping import Float32

from aasist_jax.audio.load import load_audio
from aasist_jax.audio.windows import first_window, random_window
from aasist_jax.data.cache import ClipCache
from aasist_jax.data.labels import LABEL_INDEX
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import AudioError, DataError

Clip = dict[str, Any]
Batch = dict[str, np.ndarray]

Fill = Literal["repeat", "zeros"]
"""How a clip that is shorter than a window fills it: repeated end to end, or followed by zeros."""


class ClipSource:
    """Random access to whole clips: `{"wave": float32 (samples,), "label": int32, "index": int32}`.

    Raises DataError, naming the protocol line, where a clip cannot be decoded.
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
        return {"wave": self._wave(position), "label": np.int32(label), "index": np.int32(position)}

    def _wave(self, position: int) -> Float32[np.ndarray, "samples"]:
        if self.cache is not None:
            return self.cache[position]
        utterance = self.utterances[position]
        try:
            return load_audio(utterance.path)
        except AudioError as error:
            raise DataError(f"{utterance.origin}: {error}") from error


@dataclass(frozen=True)
class RandomCrop(grain.transforms.RandomMap):
    """Cut each clip to `samples` samples from a random start; a shorter one is filled up."""

    samples: int
    fill: Fill = "repeat"

    def random_map(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with its wave cut by `random_window`, or filled up."""
        wave = clip["wave"]
        if wave.size > self.samples:
            wave = random_window(wave, self.samples, rng)
        return clip | _filled(wave, self.samples, self.fill)


@dataclass(frozen=True)
class FirstWindow(grain.transforms.Map):
    """The first `samples` samples of the clip at a position, or silence for a position behind the last clip."""

    source: ClipSource
    samples: int
    fill: Fill = "repeat"

    def map(self, position: int) -> Clip:
        """The clip, its wave cut or filled up, and whether it is `valid`."""
        valid = position < len(self.source)
        silence: Clip = {"wave": np.zeros(self.samples, np.float32), "label": np.int32(0), "index": np.int32(-1)}
        clip = self.source[position] if valid else silence
        return clip | _filled(clip["wave"], self.samples, self.fill) | {"valid": np.bool_(valid)}


def _filled(wave: Float32[np.ndarray, "samples"], length: int, fill: Fill) -> Clip:
    """The first `length` samples of the clip, filled up; with zeros, also how many of them are the clip's own.

    Raises:
        AudioError: `wave` is empty.
    """
    window = first_window(wave, length)
    if fill == "repeat":
        return {"wave": window}
    window[wave.size :] = 0
    return {"wave": window, "length": np.int32(min(wave.size, length))}


def train_dataset(
    source: ClipSource,
    *,
    samples: int,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    epochs: int | None = None,
    workers: int = 0,
    fill: Fill = "repeat",
) -> "TrainDataset":
    """Shuffled batches of random crops, the same for any number of processes and workers.

    Every epoch has an order and crops of its own, all drawn from `seed`; its last partial batch is dropped. A
    global batch is split into contiguous parts: process p of P gets rows p*batch_size/P up to
    (p+1)*batch_size/P.

    Args:
        source: the clips.
        samples: length of a crop.
        batch_size: of the global batch, over all processes.
        seed: 0 to 2**32 - 1.
        process_index: this process.
        process_count: must divide `batch_size`.
        epochs: None goes on for ever.
        workers: decoding processes; 0 decodes in threads of this process.
        fill: how a clip shorter than a window fills it; "zeros" adds the array `length`.

    Raises:
        DataError: fewer clips than a batch holds, or `process_count` does not divide `batch_size`.
    """
    if len(source) < batch_size:
        raise DataError(f"{len(source)} training clips do not fill one batch of {batch_size}; lower the batch size")

    clips = grain.MapDataset.source(source).seed(seed).shuffle().random_map(RandomCrop(samples, fill))
    steps = len(source) // batch_size
    local = _local_batches(clips, steps, batch_size, process_index, process_count)
    return TrainDataset(local.repeat(epochs), steps, workers)


class TrainDataset(grain.IterDataset):
    """What `train_dataset` makes; `iter()` starts at the first batch."""

    def __init__(self, batches: grain.MapDataset, steps_per_epoch: int, workers: int):
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self._batches = batches
        self._workers = workers

    def __iter__(self) -> "TrainIterator":
        return TrainIterator(self._batches, self._workers)


class TrainIterator(grain.DatasetIterator):
    """Batches from any position on; the position is the whole state.

    Since every batch follows from the seed and its position alone, a state carries over to another number of
    workers, and to another number of processes with the same global batch size, which Grain's own
    iterator state does not. Call `close()` when done: it ends the workers.
    """

    def __init__(self, batches: grain.MapDataset, workers: int):
        super().__init__()
        self._batches = batches
        self._workers = workers
        self._next_batch = 0
        self._rest: grain.DatasetIterator | None = None

    def __next__(self) -> Batch:
        if self._rest is None:
            self._rest = iter(_prefetched(self._batches[self._next_batch :], self._workers))
        batch = next(self._rest)
        self._next_batch += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """The number of batches given so far: plain JSON."""
        return {"next_batch": self._next_batch}

    def set_state(self, state: Any) -> None:
        """Go on after the batch that `state` was taken behind.

        Raises:
            DataError: not a state of this iterator.
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
    source: ClipSource,
    *,
    samples: int,
    batch_size: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
    fill: Fill = "repeat",
) -> grain.IterDataset:
    """Every clip's first window once, in order, in batches of one fixed shape.

    One more array, `valid` bool (batch,), is False for the rows that fill up the last batch: silence with the index -1.
    Where there are lengths, that of such a row is a whole window, so that nobody who divides by it divides by zero.
    Processes share a global batch as in `train_dataset`.

    Args:
        source: the clips.
        samples: length of the window.
        batch_size: of the global batch, over all processes.
        start: position of the first clip.
        process_index: this process.
        process_count: must divide `batch_size`.
        workers: decoding processes; 0 decodes in threads of this process.
        fill: how a clip shorter than a window fills it; "zeros" adds the array `length`.

    Raises:
        DataError: `process_count` does not divide `batch_size`.
    """
    steps = -(-(len(source) - start) // batch_size)
    clips = grain.MapDataset.range(start, start + steps * batch_size).map(FirstWindow(source, samples, fill))
    return _prefetched(_local_batches(clips, steps, batch_size, process_index, process_count), workers)


def _local_batches(
    clips: grain.MapDataset, steps: int, batch_size: int, process_index: int, process_count: int
) -> grain.MapDataset:
    """This process's part of each of the `steps` global batches of an epoch."""
    part, rest = divmod(batch_size, process_count)
    if rest:
        raise DataError(f"a batch of {batch_size} cannot be shared evenly by {process_count} processes")
    return clips.batch(part, drop_remainder=True)[process_index : steps * process_count : process_count]


def _prefetched(batches: grain.MapDataset, workers: int) -> grain.IterDataset:
    """Read ahead: a few batches, since each may be megabytes (Grain's default is 500)."""
    threads = max(1, (os.cpu_count() or 1) // max(workers, 1))
    dataset = batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads))
    if workers == 0:
        return dataset
    if not flags.FLAGS.is_parsed():  # Grain reads a flag of absl's here, which nobody parses outside absl.app
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
    return dataset.mp_prefetch(options, worker_init_fn=_follow_parent)


def _follow_parent(index: int, count: int) -> None:
    """Let a decoding process end when, and only when, the process that it works for says so or is gone."""
    # A terminal's Ctrl-C reaches every process of its group, and the batches up to the checkpoint are still needed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def outlive_nobody() -> None:
        # Killed, the parent can tell nobody, and Grain's worker would wait for ever.
        parent.join()
        os._exit(1)

    threading.Thread(target=outlive_nobody, daemon=True).start()
