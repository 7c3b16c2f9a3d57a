"""The windows whose features are stored: the first of each clip, or versions of a random crop and augmentation.

What is drawn for a version follows from the content of the clip and the number of the version, and from no seed of a
run: so runs of other seeds, of other heads and on other choices of the clips find it again. For a copy it is what is
drawn for its original, so that both come through the same channel (see `pairs.Alike`).
"""

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grain
import numpy as np

from aasist_jax.augmentation import Chain
from aasist_jax.data.pipeline import Augment, Batch, Clip, ClipSource, FirstWindow, OtherVoices, RandomCrop, prefetched
from aasist_jax.data.utterances import Utterance
from aasist_jax.models.family import Window
from aasist_jax.runtime.files import sha256_of


@dataclass(frozen=True)
class Version(grain.transforms.Map):
    """A window of the clip at a position.

    Attributes:
        source: the clips.
        contents: the SHA-256 of each clip's file.
        window: the input window of the network.
        number: of the version; None for the first window, neither cropped at random nor augmented.
        augmentation: what is done to the clip before the crop.
    """

    source: ClipSource
    contents: Sequence[str]
    window: Window
    number: int | None = None
    augmentation: Chain = ()

    def name(self, position: int) -> str:
        """What the window is known by, wherever the clip lies."""
        if self.number is None:
            return f"{self.contents[position]}-first"
        drawn_by = self._drawn_by(position)
        of_another = "" if drawn_by == self.contents[position] else f"-{drawn_by}"
        return f"{self.contents[position]}-{self.number}{of_another}"

    def map(self, position: int) -> Clip:
        """The clip with its window."""
        if self.number is None:
            return FirstWindow(self.source, self.window).map(position)
        rng = np.random.default_rng([self.number, *bytes.fromhex(self._drawn_by(position))])
        clip = self.source[position]
        if self.augmentation:
            original = self._originals.get(self.source.utterances[position].copy_of, position)
            changed = self._augment.random_map(clip | {"original": np.int32(original)}, rng)
            clip |= {"wave": changed["wave"]}
        return RandomCrop(self.window).random_map(clip, rng)

    def _drawn_by(self, position: int) -> str:
        """The content that chooses what is drawn for a clip."""
        original = self._originals.get(self.source.utterances[position].copy_of, position)
        return self.contents[original]

    @functools.cached_property
    def _originals(self) -> dict[str, int]:
        """The positions of the bona fide clips by their names."""
        return {clip.utterance: i for i, clip in enumerate(self.source.utterances) if clip.label == "bonafide"}

    @functools.cached_property
    def _augment(self) -> Augment:
        return Augment(self.augmentation, self.window, OtherVoices.of(self.source))


def contents_of(utterances: Sequence[Utterance]) -> list[str]:
    """The SHA-256 of every clip's file, 64 hexadecimal digits each."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda clip: sha256_of(clip.path), utterances))


def window_batches(version: Version, positions: Sequence[int], batch_size: int, workers: int) -> Iterator[Batch]:
    """The windows of clips at some positions, in this order; the last batch may be smaller than the others.

    Args:
        version: the windows.
        positions: of the clips.
        batch_size: clips of a batch.
        workers: decoding processes; 0 decodes in threads of this process.
    """
    windows = grain.MapDataset.source(list(positions)).map(version)
    yield from prefetched(windows.batch(batch_size), workers)
