"""Predicts how good a recording sounds: Distill-MOS by its published rule (Stahl and Gamper, 2025, arXiv:2502.05356).

The number is a mean opinion score from 1 (bad) to 5 (excellent), as listeners give in tests of speech quality. It says
nothing of who or what speaks: synthetic speech can sound excellent.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.encoders.readers.distill_mos import NAME, DistillMOSWeights, find_distill_mos, read_distill_mos
from aasist_jax.errors import AudioError

SEGMENT = 122_880
"""Samples of a segment, 7.68 s: what the network was trained on. A shorter recording is filled up with zeros."""

LARGEST_HOP = 16_000
"""The most samples from one segment to the next, up to the rounding of the number of segments."""

GROUP = 8
"""Segments that are in hand at once where there is an accelerator."""

Blocks = Callable[[], Iterable[Float32[np.ndarray, "samples"]]]
"""Gives a recording's samples from its start, block by block, however often it is called."""


@dataclass(frozen=True)
class Quality:
    """The predicted quality of a recording.

    Attributes:
        mos: the mean opinion score, 1 to 5, the mean over the segments.
        seconds: length of the recording.
        starts: where each segment starts, in seconds.
        segments: the mean opinion score of each segment.
    """

    mos: float
    seconds: float
    starts: tuple[float, ...]
    segments: tuple[float, ...]


def segment_starts(samples: int) -> list[int]:
    """Where the segments of a recording of `samples` start: evenly, from its start to its end, rounded down.

    A recording that is longer than a segment has so many that they start at most `LARGEST_HOP` apart.
    """
    over = samples - SEGMENT
    if over <= 0:
        return [0]
    count = -(-over // LARGEST_HOP) + 1
    # In float64 as published: 4 % of the lengths have a start that is a sample below the exact fraction.
    return [int(fraction * over) for fraction in np.linspace(0, 1, count)]


class QualityPredictor:
    """Distill-MOS, compiled for segments."""

    def __init__(self, weights: DistillMOSWeights) -> None:
        """Take the weights, as `read_distill_mos` gives them."""
        from aasist_jax.models.ssl.encoders.distill_mos.network import DistillMOS

        module, variables = DistillMOS(weights.config), jax.device_put(weights.variables)
        # As arguments: as constants of the program they would be compiled into it.
        self._predict = functools.partial(jax.jit(module.apply), variables)
        # One shape, so that a segment has one score however many there are.
        self._rows = 1 if jax.default_backend() == "cpu" else GROUP

    @classmethod
    def from_pretrained(cls, path_or_name: str | os.PathLike[str] = NAME) -> "QualityPredictor":
        """Read the weights from the wheel of `distillmos`, its checkpoint, or the installed package (by name).

        Raises:
            WeightsError: they are not there, or damaged; the message says how to get them.
        """
        is_name = os.fspath(path_or_name) == NAME and not Path(path_or_name).exists()
        return cls(read_distill_mos(find_distill_mos() if is_name else Path(path_or_name)))

    def predict(self, blocks: Blocks, watch: Callable[[int, int], object] = lambda done, total: None) -> Quality:
        """Predict the quality of a recording, in memory that does not grow with its length.

        The recording is read twice: where its segments lie depends on its exact length.

        Args:
            blocks: gives the samples, mono float32 at 16 kHz; for a file, `lambda: iter_audio(path)`.
            watch: called after each segment with the number that are done, and of all.

        Raises:
            AudioError: as `iter_audio`; no samples; a recording whose length changed while it was read.
        """
        samples = sum(block.size for block in blocks())
        if samples == 0:
            raise AudioError("the recording holds no samples")
        starts = segment_starts(samples)
        scores: list[float] = []
        again = 0

        def counted() -> Iterator[Float32[np.ndarray, "samples"]]:
            nonlocal again
            for block in blocks():
                again += block.size
                yield block

        for group in _grouped(cut_segments(counted(), starts), self._rows):
            scores += self._scores(group)
            watch(len(scores), len(starts))
        if again != samples:
            raise AudioError(
                f"the recording changed while it was read, from {samples} to {again} samples; wait until it is written"
            )
        mos = float(np.mean(np.asarray(scores, np.float64)))
        return Quality(mos, samples / SAMPLE_RATE, tuple(start / SAMPLE_RATE for start in starts), tuple(scores))

    def _scores(self, group: list[np.ndarray]) -> list[float]:
        waves = np.stack(group + [group[-1]] * (self._rows - len(group)))
        with jax.default_matmul_precision("highest"):
            scores: Any = self._predict(waves)
        return [float(score) for score in np.asarray(scores)[: len(group)]]


def cut_segments(
    blocks: Iterable[Float32[np.ndarray, "samples"]], starts: list[int]
) -> Iterator[Float32[np.ndarray, "segment"]]:
    """Cut segments out of a recording as it comes, block by block; a recording that is shorter is filled with zeros."""
    held, offset, ahead = np.zeros(0, np.float32), 0, list(reversed(starts))
    for block in blocks:
        held = np.concatenate([held, block])
        while ahead and ahead[-1] + SEGMENT <= offset + held.size:
            start = ahead.pop() - offset
            yield held[start : start + SEGMENT]
        # What lies before the next segment is not needed any more.
        passed = min((ahead[-1] if ahead else offset + held.size) - offset, held.size)
        held, offset = held[passed:], offset + passed
    if starts == [0] and ahead and held.size:
        yield np.pad(held, (0, SEGMENT - held.size))


def _grouped(segments: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    group: list[np.ndarray] = []
    for segment in segments:
        group.append(segment)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
