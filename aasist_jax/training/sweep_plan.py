"""Which runs a sweep has: a base configuration, the settings that are tried, and seeds."""

import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from aasist_jax.config import ExperimentConfig, load_config, parse_dataclass, read_json
from aasist_jax.errors import ConfigError

ALWAYS = {"train_config.score_eval": False}
"""Whoever chooses by figures of eval has no figure left that says how good the choice is."""

LONGEST_NAME = 60


@dataclass(frozen=True)
class SweepConfig:
    """The file of a sweep. Keys and values are those of `--set`.

    Attributes:
        config: the base configuration: a file, or a name that comes with the package.
        set: what all runs have in common.
        grid: values of each key, all of which are tried with all of the others'.
        choices: settings that are tried one after the other, each with the whole grid.
        seeds: what `train_config.seed` is, run by run; empty for the one of the configuration.
    """

    config: str
    set: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, Annotated[list[Any], Meta(min_length=1)]] = field(default_factory=dict)
    choices: list[dict[str, Any]] = field(default_factory=list)
    seeds: list[Annotated[int, Meta(ge=0)]] = field(default_factory=list)


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        base: the base configuration.
        settings: what is tried in it, by key.
        seed: its seed; None for that of the configuration.
        overrides: all changes to the base, each `key=value`.
        config: the configuration that results.
        folder: its run folder.
    """

    base: str
    settings: dict[str, Any]
    seed: int | None
    overrides: tuple[str, ...]
    config: ExperimentConfig
    folder: Path

    @property
    def arguments(self) -> list[str]:
        """The arguments of `aasist-jax train` that make this run."""
        changes = [word for override in self.overrides for word in ("--set", override)]
        return ["--config", self.base, *changes, "--output", str(self.folder)]

    @property
    def command(self) -> str:
        """The command that makes this run alone."""
        return shlex.join(["aasist-jax", "train", *self.arguments])


def plan_sweep(path: Path, folder: Path) -> list[PlannedRun]:
    """Read the file of a sweep, and every configuration that it makes.

    The folder of a run is named after its settings, so that runs are found again where others are added or left out.

    Args:
        path: of the JSON file.
        folder: of the sweep.

    Raises:
        ConfigError: a key or a value is not understood, or two runs are the same.
    """
    sweep: SweepConfig = parse_dataclass(SweepConfig, read_json(path), str(path))
    runs = []
    seeds: list[int | None] = [*sweep.seeds] or [None]
    for choice in sweep.choices or [{}]:
        for values in itertools.product(*sweep.grid.values()):
            settings = dict(zip(sweep.grid, values, strict=True)) | choice
            runs += [_planned(sweep, settings, seed, folder) for seed in seeds]
    for number, run in enumerate(runs):
        if any(run.config == other.config for other in runs[:number]):
            raise ConfigError(f"{path}: two runs are the same, {described(run.settings)}; leave one out")
    return runs


def _planned(sweep: SweepConfig, settings: dict[str, Any], seed: int | None, folder: Path) -> PlannedRun:
    changes = sweep.set | settings | ({} if seed is None else {"train_config.seed": seed}) | ALWAYS
    # A whole section before its keys, which it would undo.
    changes = dict(sorted(changes.items(), key=lambda change: change[0].count(".")))
    overrides = tuple(f"{key}={json.dumps(value)}" for key, value in changes.items())
    config = load_config(sweep.config, overrides)
    name = "seed" if seed is None else f"seed-{seed}"
    return PlannedRun(sweep.config, settings, seed, overrides, config, folder / _name(settings) / name)


def described(settings: dict[str, Any]) -> str:
    """Settings in a line, without the sections of their keys."""
    return ", ".join(f"{key.rpartition('.')[2]}={json.dumps(value)}" for key, value in settings.items()) or "as it is"


def _name(settings: dict[str, Any]) -> str:
    """A name for a folder: for people, and with a digest that tells all settings apart."""
    words = re.sub(r"[^A-Za-z0-9._=]+", "-", described(settings)).strip("-")[:LONGEST_NAME]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return f"{words}-{digest[:8]}"


def by_settings(runs: Sequence[PlannedRun]) -> list[list[PlannedRun]]:
    """The runs that differ in their seed alone, together."""
    groups: dict[Path, list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault(run.folder.parent, []).append(run)
    return list(groups.values())
