"""The clips of one split of a corpus, as voices: the clips of one human speaker, or of one attack."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aasist_jax.audio.load import load_audio
from aasist_jax.augmentation.sound import OtherWave
from aasist_jax.corpus.channel import to_level
from aasist_jax.corpus.layout import read_metadata
from aasist_jax.data.layouts.asvspoof2019 import clip_path
from aasist_jax.errors import DataError

_COLUMNS = {"utterance", "split", "label", "attack", "speaker", "language"}


@dataclass(frozen=True)
class Source:
    """A clip of a corpus as `metadata.csv` describes it.

    Attributes:
        utterance: its name.
        path: its FLAC file.
        label: "bonafide" or "spoof".
        attack: "-" for bona fide.
        speaker: who speaks; for a copy by an attack, who spoke the original.
        language: a code such as "en".
    """

    utterance: str
    path: Path
    label: str
    attack: str
    speaker: str
    language: str


@dataclass(frozen=True)
class Spoken:
    """A clip and its sound: 16 kHz, at the active speech level that all clips of a corpus have."""

    source: Source
    wave: OtherWave


Voice = tuple[Spoken, ...]
"""The clips of one human speaker, or of one attack; at least one."""


def list_sources(corpus: Path, split: str) -> tuple[Source, ...]:
    """The clips of a split, in the order of their names.

    Raises:
        DataError: there is no `metadata.csv`, it lacks a column, it has no such split, or a name is no file name.
    """
    if not (corpus / "metadata.csv").is_file():
        raise DataError(f"{corpus}: there is no metadata.csv; give a folder that aasist-jax build-corpus has made")
    rows = read_metadata(corpus)
    missing = _COLUMNS - set(rows[0] if rows else ())
    if missing:
        raise DataError(f"{corpus / 'metadata.csv'}: lacks {', '.join(sorted(missing))}; build the corpus again")
    chosen = sorted((row for row in rows if row["split"] == split), key=lambda row: row["utterance"])
    if not chosen:
        there = ", ".join(sorted({row["split"] for row in rows}))
        raise DataError(f"{corpus}: there is no split {split!r}; there are {there}")
    for row in chosen:
        if os.path.basename(row["utterance"]) != row["utterance"]:
            raise DataError(f"{corpus / 'metadata.csv'}: {row['utterance']!r} is not a plain file name")
    return tuple(
        Source(
            row["utterance"],
            clip_path(corpus, split, row["utterance"]),
            row["label"],
            row["attack"],
            row["speaker"],
            row["language"],
        )
        for row in chosen
    )


def human_voices(sources: Iterable[Source]) -> dict[str, tuple[Source, ...]]:
    """The bona fide clips by speaker, in alphabetical order."""
    return _grouped((source.speaker, source) for source in sources if source.label == "bonafide")


def synthetic_voices(sources: Iterable[Source]) -> dict[str, tuple[Source, ...]]:
    """The spoofed clips by attack, in alphabetical order; a copying attack has as many speakers as it has copied."""
    return _grouped((source.attack, source) for source in sources if source.label == "spoof")


def of_others(sources: Iterable[Source], speaker: str) -> tuple[Source, ...]:
    """The clips that are not by this speaker."""
    return tuple(source for source in sources if source.speaker != speaker)


def best_fitting(sources: Iterable[Source], beside: Source, rng: np.random.Generator) -> tuple[Source, ...]:
    """The clips in shuffled order, those by the speaker of `beside` first, then those in that language."""
    candidates = list(sources)
    shuffled = [candidates[index] for index in rng.permutation(len(candidates))]
    return tuple(sorted(shuffled, key=lambda each: (each.speaker != beside.speaker, each.language != beside.language)))


def same_voice(clip: Source, sources: Iterable[Source], rng: np.random.Generator) -> tuple[Source, ...]:
    """The clip, then in shuffled order all others of its speaker, label and attack."""
    kind = (clip.speaker, clip.label, clip.attack)
    others = [each for each in sources if (each.speaker, each.label, each.attack) == kind and each != clip]
    return (clip, *(others[index] for index in rng.permutation(len(others))))


def read_voice(sources: Iterable[Source]) -> Voice:
    """Read the clips, each brought to the level of the corpus.

    Raises:
        AudioError: a clip cannot be read.
    """
    return tuple(Spoken(source, to_level(load_audio(source.path).astype(np.float64))) for source in sources)


def _grouped(named: Iterable[tuple[str, Source]]) -> dict[str, tuple[Source, ...]]:
    groups: dict[str, list[Source]] = {}
    for name, source in named:
        groups.setdefault(name, []).append(source)
    return {name: tuple(group) for name, group in sorted(groups.items())}
