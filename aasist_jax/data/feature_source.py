"""Features of the clips of a split in place of their waves, for a network whose first part is frozen.

Batches are those of `pipeline.py`, but for `wave`: (batch, numbers), a row of features of each clip, in the type in
which they are stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import grain
import numpy as np

from aasist_jax.data.feature_file import StoredFeatures
from aasist_jax.data.labels import LABEL_INDEX
from aasist_jax.data.utterances import Utterance


@dataclass(frozen=True)
class FeatureSource:
    """Random access to the stored features of clips.

    Attributes:
        utterances: the clips, in order.
        versions: the features of all clips, once for each version: those of crops and augmentations of their own.
        has_lengths: whether the network is told how many samples of a window are valid.
    """

    utterances: list[Utterance]
    versions: Sequence[StoredFeatures]
    has_lengths: bool

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, position: SupportsIndex) -> dict[str, Any]:
        """The clip at a position, by its position alone; its features are read by `features`."""
        return {"index": np.int32(int(position))}

    def features(self, position: int, version: int = 0) -> dict[str, Any]:
        """The features of a clip, with its label and its position."""
        stored = self.versions[version]
        row = np.array(stored.rows[stored.positions[position]])
        label = np.int32(LABEL_INDEX[self.utterances[position].label])
        clip = {"wave": row, "label": label, "index": np.int32(position)}
        return clip | {"length": stored.lengths[position]} if self.has_lengths else clip


@dataclass(frozen=True)
class VersionOfEpoch(grain.transforms.MapWithIndex):
    """The features of a clip, or of those of a pair, in the version of the epoch: its number, from 0, modulo theirs.

    Attributes:
        source: the features.
        per_epoch: clips, or pairs, of an epoch.
    """

    source: FeatureSource
    per_epoch: int

    def map_with_index(self, index: int, drawn: Any) -> Any:
        """The clip or the pair with its features; `index` counts those of all epochs."""
        version = index // self.per_epoch % len(self.source.versions)
        if isinstance(drawn, list):
            return [self.source.features(int(clip["index"]), version) for clip in drawn]
        return self.source.features(int(drawn["index"]), version)


@dataclass(frozen=True)
class OnlyVersion(grain.transforms.Map):
    """The features of the clip at a position, or the first clip's for a position after the last one, not `valid`."""

    source: FeatureSource

    def map(self, position: int) -> dict[str, Any]:
        """The clip with its features, and whether there is a clip at this position."""
        valid = position < len(self.source)
        clip = self.source.features(position if valid else 0)
        return clip | {"index": np.int32(position if valid else -1), "valid": np.bool_(valid)}
