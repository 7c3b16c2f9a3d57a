"""Grain's part in drawn epochs, and in batches of originals, each followed by its copy."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np
from jaxtyping import Int

from aasist_jax.data.sampling import Draw

Clip = dict[str, Any]


class DrawnClips(grain.MapDataset):
    """The clips of one epoch after the other: a clip each, or a list of the clips of a pair.

    The copy of a pair has the position of its original as `original`.

    Args:
        clip_at: gives the clip at a position.
        draw: says which ones an epoch has.
    """

    def __init__(self, clip_at: Callable[[int], Clip], draw: Draw):
        super().__init__()
        self._clip_at, self._draw = clip_at, draw
        self._kept: dict[int, Int[np.ndarray, "count width"]] = {}

    def __len__(self) -> int:
        return self._draw.count

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        epoch, number = divmod(index, len(self))
        positions = self._rows(epoch)[number]
        if not self._draw.is_of_pairs:
            return self._clip_at(int(positions[0]))
        original, made = (self._clip_at(int(position)) for position in positions)
        return [original, {**made, "original": np.int32(positions[0])}]

    def _rows(self, epoch: int) -> Int[np.ndarray, "count width"]:
        rows = self._kept.get(epoch)
        if rows is None:
            rows = self._draw.epoch(epoch)
            # Threads that are ahead draw the next epoch while others are at the end of this one.
            self._kept = {epoch: rows} | {number: kept for number, kept in self._kept.items() if number == epoch - 1}
        return rows


@dataclass(frozen=True)
class Alike(grain.transforms.RandomMap):
    """Do the same to both clips of a pair: both get the same random numbers.

    They are as long as one another in the corpora built here. Where they are not, what a step draws for each sample,
    such as a noise, lets the steps after it draw other numbers.
    """

    each: Any

    def random_map(self, pair: list[Clip], rng: np.random.Generator) -> list[Clip]:
        """The pair with both clips changed."""
        return [self.each.random_map(clip, copy.deepcopy(rng)) for clip in pair]


class Joined(grain.transforms.Map):
    """From a pair to arrays with a first axis of two: original, copy."""

    def map(self, pair: list[Clip]) -> Clip:
        """The arrays that both have."""
        return {name: np.stack([clip[name] for clip in pair]) for name in pair[0]}


class InRow(grain.transforms.Map):
    """From a batch of pairs to one of clips, in which each copy follows its original."""

    def map(self, batch: Clip) -> Clip:
        """The arrays with their first two axes made one."""
        return {name: array.reshape(-1, *array.shape[2:]) for name, array in batch.items()}
