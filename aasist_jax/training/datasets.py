"""The data set of an experiment: its splits, checked before the first step."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aasist_jax.config import ExperimentConfig
from aasist_jax.data.cache import open_cache
from aasist_jax.data.fingerprint import fingerprint
from aasist_jax.data.pipeline import ClipSource
from aasist_jax.data.preflight import usable_utterances
from aasist_jax.data.protocols import ASVSPOOF2019_LISTS, Utterance, read_asvspoof2019_la, read_csv
from aasist_jax.errors import DataError


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
        return bool(read_csv(config.database_path, name))
    protocol = f"ASVspoof2019.{config.track}.cm.{ASVSPOOF2019_LISTS[name]}.txt"
    return Path(config.database_path, f"ASVspoof2019_{config.track}_cm_protocols", protocol).is_file()


def open_splits(config: ExperimentConfig, names: Iterable[str], report_folder: Path) -> dict[str, Split]:
    """Check every file of every split, decode what is to be cached, and fingerprint the data.

    All faults of all splits are reported together, before anything else is done.

    Raises:
        DataError: files are missing or unreadable and the configuration does not say to skip them.
    """
    checked, faults = {}, []
    for name in names:
        utterances = read_split(config, name)
        try:
            checked[name] = usable_utterances(
                utterances, on_bad=config.data_config.on_bad_file, report=report_folder / f"bad_files_{name}.txt"
            )
        except DataError as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise DataError("\n".join(faults) + "\nTo go on without them: --set data_config.on_bad_file=skip")
    splits = {}
    for name, utterances in checked.items():
        mark = fingerprint(utterances)
        if name == "train" and config.train_config.shuffle_labels:
            utterances = shuffled_labels(utterances, config.train_config.seed)
        cache = open_cache(Path(config.data_config.cache), utterances) if config.data_config.cache else None
        splits[name] = Split(name, ClipSource(utterances, cache), mark)
    for name in ("train", "dev"):
        labels = {utterance.label for utterance in checked.get(name, ())}
        if len(labels) == 1:
            missing = "spoofed" if "bonafide" in labels else "bona fide"
            raise DataError(f"{config.database_path}: split {name!r} has no {missing} clip; both kinds are needed")
    return splits


def shuffled_labels(utterances: list[Utterance], seed: int) -> list[Utterance]:
    """Deal the labels out anew at random: a control, on which nothing can be learnt."""
    order = np.random.default_rng(seed).permutation(len(utterances))
    return [
        replace(utterance, label=utterances[i].label, attack=utterances[i].attack)
        for utterance, i in zip(utterances, order, strict=True)
    ]
