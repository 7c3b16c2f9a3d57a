"""Opens the splits of an experiment's data set and checks them before the first step."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aasist_jax.config import ExperimentConfig
from aasist_jax.data.cache import ClipCache, open_cache
from aasist_jax.data.feature_source import FeatureSource
from aasist_jax.data.fingerprint import fingerprint
from aasist_jax.data.held_out import without_held_out
from aasist_jax.data.layouts import find_layout
from aasist_jax.data.overlap import check_clips_in_one_split, warn_of_shared_speakers
from aasist_jax.data.pipeline import ClipSource
from aasist_jax.data.preflight import usable_utterances
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import BadClipsError, DataError
from aasist_jax.runtime.files import write_text

OneHostFirst = Callable[[Callable[[], ClipCache]], ClipCache]
"""Calls a function on every host of a run, on one host before the others, and returns its result."""


@dataclass(frozen=True)
class Split:
    """One split of a data set, with access to its clips, or to their stored features."""

    name: str
    source: ClipSource | FeatureSource
    fingerprint: str
    held_out: tuple[str, ...] = ()
    """The only systems in this split, where it is a dev split of systems that are held out of training."""

    @property
    def utterances(self) -> list[Utterance]:
        """The clips, in order."""
        return self.source.utterances


def read_split(config: ExperimentConfig, name: str) -> list[Utterance]:
    """Read the list of a split's clips in the configured layout.

    Raises:
        DataError: there is no such layout or split, or its list has errors.
    """
    layout = find_layout(config.data_config.layout)
    told = config.data_config.bonafide_is
    if told is not None and not layout.takes_bonafide_is:
        raise DataError(f"data_config.bonafide_is: the layout {layout.name!r} has no numeric labels; leave it out")
    options = {"bonafide_is": str(told)} if told is not None else {}
    utterances = layout.read(Path(config.database_path), name, config.track, **options)
    if not utterances:
        raise DataError(f"{config.database_path}: split {name!r} has no clips")
    return utterances


def has_split(config: ExperimentConfig, name: str) -> bool:
    """Whether the data set has a split of that name. False also if it cannot be read; `read_split` says why.

    Raises:
        DataError: there is no such layout.
    """
    layout = find_layout(config.data_config.layout)
    return name in layout.splits(Path(config.database_path), config.track)


def open_splits(
    config: ExperimentConfig,
    names: Iterable[str],
    report_folder: Path,
    *,
    is_writer: bool = True,
    one_host_first: OneHostFirst = lambda function: function(),
) -> dict[str, Split]:
    """Check every file of every split, build the cache if one is configured, and fingerprint the data.

    The problems of all splits are reported together, before anything else is done. Where train and dev are opened
    together, systems are held out of training as configured.

    Args:
        config: gives the path and layout of the data set, and whether to cache decoded clips.
        names: names of the splits.
        report_folder: receives `bad_files_SPLIT.txt` for a split with bad files, and `checked_SPLIT.txt` for a good
            split, so that its files are not decoded again in a later check.
        is_writer: whether to write into `report_folder`; only one of the hosts of a run should.
        one_host_first: how the hosts of a run build a cache on a shared disk; by default there is one host.

    Raises:
        DataError: there is no such layout or split; files are missing or unreadable and are not configured to be
            skipped; a clip stands in two splits; a split has clips of one label only; or systems cannot be held out.
    """
    # A layout that does not exist is the same fault in every split.
    find_layout(config.data_config.layout)
    checked = _all_checked(config, names, report_folder, is_writer)
    for name, utterances in checked.items():
        labels = {utterance.label for utterance in utterances}
        if len(labels) == 1:
            missing = "spoofed" if "bonafide" in labels else "bona fide"
            raise DataError(f"{config.database_path}: split {name!r} has no {missing} clip; both kinds are needed")
    held_out: tuple[str, ...] = ()
    if {"train", "dev"} <= checked.keys():
        checked, held_out = without_held_out(config.train_config, checked)
    splits = {}
    for name, utterances in checked.items():
        mark = fingerprint(utterances)
        # Dev labels are shuffled, too: with true labels, dev would select the best of many random models.
        if name in ("train", "dev") and config.train_config.shuffle_labels:
            utterances = shuffled_labels(utterances, config.train_config.seed)
        cache = None
        if config.data_config.cache:
            folder = Path(config.data_config.cache)
            cache = one_host_first(functools.partial(open_cache, folder, utterances))
        splits[name] = Split(name, ClipSource(utterances, cache), mark, held_out if name == "dev" else ())
    return splits


def _all_checked(
    config: ExperimentConfig, names: Iterable[str], report_folder: Path, is_writer: bool
) -> dict[str, list[Utterance]]:
    """Read and check every split; raise the faults of all together, each with the splits that have it."""
    checked, notes, can_skip = {}, {}, False
    faults: dict[str, list[str]] = {}
    for name in names:
        try:
            checked[name], notes[name] = _checked(config, name, report_folder, is_writer)
        except DataError as error:
            faults.setdefault(str(error), []).append(name)
            can_skip |= isinstance(error, BadClipsError)
    if faults:
        way_out = "\nTo go on without the bad clips: --set data_config.on_bad_file=skip"
        listed = "\n".join(f"{', '.join(concerned)}: {fault}" for fault, concerned in faults.items())
        raise DataError(listed + (way_out if can_skip else ""))
    warn_of_shared_speakers(checked)
    if any(note is not None for note in notes.values()):
        check_clips_in_one_split(checked)
    for name, note in notes.items():
        if note and is_writer:
            write_text(report_folder / f"checked_{name}.txt", note)
    return checked


def _checked(
    config: ExperimentConfig, name: str, report_folder: Path, is_writer: bool
) -> tuple[list[Utterance], str | None]:
    """Read a split and decode every file completely. Files that have been checked are not decoded again.

    Returns:
        The usable clips, and what the note of a good split must say, "" if clips are left out, or None if the split was
        checked before.
    """
    utterances = read_split(config, name)
    note = report_folder / f"checked_{name}.txt"
    all_there = note.exists() and all(utterance.path.is_file() for utterance in utterances)
    if all_there and note.read_text(encoding="utf-8").strip() == fingerprint(utterances, exact=True):
        return utterances, None
    report = report_folder / f"bad_files_{name}.txt" if is_writer else None
    usable = usable_utterances(utterances, on_bad=config.data_config.on_bad_file, report=report, deep=True)
    return usable, fingerprint(utterances, exact=True) + "\n" if len(usable) == len(utterances) else ""


def shuffled_labels(utterances: list[Utterance], seed: int) -> list[Utterance]:
    """Shuffle the labels at random, as a control experiment in which nothing can be learnt."""
    order = np.random.default_rng(seed).permutation(len(utterances))
    return [
        replace(utterance, label=utterances[i].label, attack=utterances[i].attack)
        for utterance, i in zip(utterances, order, strict=True)
    ]
