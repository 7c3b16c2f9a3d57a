"""What every section of the benchmark is given, and what it gives back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from aasist_jax.weights.folder import Weights


@dataclass(frozen=True)
class Setting:
    """One run of the benchmark.

    Attributes:
        folder: of the weights.
        weights: read from there.
        threads: of every contender.
        rounds: turns that each contender takes.
        batches: sizes of inference.
        train_batches: sizes of the training step.
        compiled: whether `torch.compile` takes part.
        gpu: whether JAX computes on a GPU.
        corpus: in the ASVspoof 2019 LA layout; None leaves out what needs one.
        block: recordings that are scored in one turn, end to end.
        epoch_clips: clips of an epoch that are really run.
        lengths: seconds of the recordings whose cost is measured.
        devices: counts of virtual devices that are tried.
        starts: how often a cold and a warm start are measured.
        array_mib: size of the array by which the memory is measured.
    """

    folder: Path
    weights: Weights
    threads: int
    rounds: int
    batches: tuple[int, ...]
    train_batches: tuple[int, ...]
    compiled: bool
    gpu: bool
    corpus: Path | None
    block: int
    epoch_clips: int
    lengths: tuple[float, ...]
    devices: tuple[int, ...]
    starts: int
    array_mib: int


@dataclass(frozen=True)
class Section:
    """What a section found: figures for JSON, tables for people, and lines on what was left out."""

    figures: list[dict[str, Any]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
