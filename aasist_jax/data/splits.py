"""The data set of an experiment: its splits, checked before the first step."""

import csv
import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from aasist_jax.config import ExperimentConfig
from aasist_jax.data.cache import open_cache
from aasist_jax.data.fingerprint import fingerprint
from aasist_jax.data.layouts.asvspoof2019 import ASVSPOOF2019_LISTS, read_asvspoof2019_la
from aasist_jax.data.layouts.csv_table import read_csv
from aasist_jax.data.pipeline import ClipSource
from aasist_jax.data.preflight import usable_utterances
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import DataError
from aasist_jax.training.parallel import first_host_first


@dataclass(frozen=True)
class Split:
    """One split, ready to be read."""

    name: str
    source: ClipSource
    fingerprint: str

    @property
    def utterances(self) -> list[Utterance]:
        """The clips, in order."""
        return self.source.utterances


def read_split(config: ExperimentConfig, name: str) -> list[Utterance]:
    """Read the protocol of a split, as the configuration lays it out.

    Raises:
        DataError: there is no such split, or its protocol is faulty.
    """
    if config.data_config.layout == "csv":
        utterances = read_csv(config.database_path, name)
    else:
        utterances = read_asvspoof2019_la(config.database_path, name, config.track)
    if not utterances:
        raise DataError(f"{config.database_path}: split {name!r} has no clips")
    return utterances


def has_split(config: ExperimentConfig, name: str) -> bool:
    """Tell whether the data set has a split of that name."""
    if config.data_config.layout == "csv":
        try:
            with open(config.database_path, encoding="utf-8-sig", newline="") as file:
                return any(row.get("split") == name for row in csv.DictReader(file, skipinitialspace=True))
        except (OSError, UnicodeDecodeError, csv.Error):
            return False  # Reading any split then says what is wrong with the file.
    database = f"ASVspoof2019_{config.track}"
    protocol = f"ASVspoof2019.{config.track}.cm.{ASVSPOOF2019_LISTS[name]}.txt"
    # The published protocols come together; the clips of a split may have been left out.
    listed = Path(config.database_path, f"{database}_cm_protocols", protocol).is_file()
    return listed and Path(config.database_path, f"{database}_{name}").is_dir()


def open_splits(config: ExperimentConfig, names: Iterable[str], report_folder: Path) -> dict[str, Split]:
    """Check every file of every split, decode what is to be cached, and fingerprint the data.

    All faults of all splits are reported together, before anything else is done.

    Raises:
        DataError: files are missing or unreadable and the configuration does not say to skip them.
    """
    checked, faults = {}, []
    for name in names:
        try:
            checked[name] = _checked(config, name, report_folder)
        except DataError as error:
            faults.append(f"{name}: {error}")
    if faults:
        way_out = "\nTo go on without them: --set data_config.on_bad_file=skip"
        raise DataError("\n".join(faults) + (way_out if config.data_config.on_bad_file == "fail" else ""))
    for name, utterances in checked.items():
        labels = {utterance.label for utterance in utterances}
        if len(labels) == 1:
            missing = "spoofed" if "bonafide" in labels else "bona fide"
            raise DataError(f"{config.database_path}: split {name!r} has no {missing} clip; both kinds are needed")
    splits = {}
    for name, utterances in checked.items():
        mark = fingerprint(utterances)
        # True dev labels would still choose the best of many random models.
        if name in ("train", "dev") and config.train_config.shuffle_labels:
            utterances = shuffled_labels(utterances, config.train_config.seed)
        cache = None
        if config.data_config.cache:
            folder = Path(config.data_config.cache)
            cache = first_host_first(functools.partial(open_cache, folder, utterances))
        splits[name] = Split(name, ClipSource(utterances, cache), mark)
    return splits


def _checked(config: ExperimentConfig, name: str, report_folder: Path) -> list[Utterance]:
    """Read a split and decode every file to its end, once: the same files are not checked again on a resume."""
    utterances = read_split(config, name)
    note = report_folder / f"checked_{name}.txt"
    all_there = note.exists() and all(utterance.path.is_file() for utterance in utterances)
    if all_there and note.read_text(encoding="utf-8").strip() == fingerprint(utterances, exact=True):
        return utterances
    is_writer = jax.process_index() == 0
    report = report_folder / f"bad_files_{name}.txt" if is_writer else None
    usable = usable_utterances(utterances, on_bad=config.data_config.on_bad_file, report=report, deep=True)
    if is_writer and len(usable) == len(utterances):
        note.write_text(fingerprint(utterances, exact=True) + "\n", encoding="utf-8")
    return usable


def shuffled_labels(utterances: list[Utterance], seed: int) -> list[Utterance]:
    """Deal the labels out anew at random: a control, on which nothing can be learnt."""
    order = np.random.default_rng(seed).permutation(len(utterances))
    return [
        replace(utterance, label=utterances[i].label, attack=utterances[i].attack)
        for utterance, i in zip(utterances, order, strict=True)
    ]
