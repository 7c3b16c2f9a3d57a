"""Plans the large corpus before anything is made: every clip with its speaker, system, medium and channel."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import NamedTuple, TypeVar

import numpy as np

from aasist_jax.corpus.channel import CHANNELS
from aasist_jax.corpus.large.speakers import Recording, Speaker
from aasist_jax.corpus.large.systems import System
from aasist_jax.corpus.large.texts import Texts
from aasist_jax.corpus.plan import SPLITS, Clip, of_voice

SHORTEST, LONGEST = 2.6, 4.4
"""The range from which the length of a clip is drawn, in seconds; a clip with less material is shorter."""

_SPEECH_SHARE = 0.8
"""What is left of recordings after their silent ends are trimmed, roughly."""

_LETTERS_PER_SECOND = 20
_T = TypeVar("_T")


class SplitCounts(NamedTuple):
    """The clips of a split: bona fide at most, fewer if the recordings do not suffice, and spoofed."""

    human: int
    spoofed: int


@dataclass(frozen=True)
class LargeCounts:
    """The clips of each split."""

    train: SplitCounts = field(default=SplitCounts(3600, 5600))
    dev: SplitCounts = field(default=SplitCounts(700, 840))
    eval: SplitCounts = field(default=SplitCounts(800, 1680))

    def scaled(self, share: float) -> "LargeCounts":
        """So many times as many clips, at least one of each."""
        return LargeCounts(
            **{
                split: SplitCounts(*(max(round(count * share), 1) for count in getattr(self, split)))
                for split in SPLITS
            }
        )


@dataclass(frozen=True)
class LargeClip(Clip):
    """A clip to be made, and the medium that it passes (`media.MEDIA`)."""

    medium: str = "wide"


@dataclass(frozen=True)
class Group:
    """A human clip and all that is made from it: its copies, and the synthetic speech that takes on its sound."""

    human: LargeClip
    made: tuple[LargeClip, ...]


def plan_large(
    counts: LargeCounts,
    seed: int,
    recordings: Mapping[Speaker, Sequence[Recording]],
    systems: Sequence[System],
    texts: Texts,
) -> list[Group]:
    """Plan all clips.

    Args:
        counts: clips of each split.
        seed: of all choices.
        recordings: of each speaker.
        systems: those to use.
        texts: for text-to-speech, by split and language.

    Returns:
        The groups by split. No recording is in two clips. Every system of a split gets equally many clips.
    """
    groups = []
    for number, split in enumerate(SPLITS):
        # The human clips do not depend on the systems, so that corpora with others of them can be compared.
        of_human, of_made, of_names = (np.random.default_rng([seed, 2, number, step]) for step in range(3))
        speakers = {speaker: items for speaker, items in recordings.items() if speaker.split == split}
        wanted: SplitCounts = getattr(counts, split)
        human = _human(split, wanted.human, of_human, speakers)
        of_split = [system for system in systems if split in system.splits]
        made = _synthetic(split, wanted.spoofed, of_made, human, of_split, texts[split])
        groups += _named(split, of_names, human, made)
    return groups


def _human(
    split: str, count: int, rng: np.random.Generator, recordings: Mapping[Speaker, Sequence[Recording]]
) -> list[LargeClip]:
    """The bona fide clips, shared out equally among the speakers as far as each one's recordings suffice."""
    possible: dict[str, list[LargeClip]] = {}
    for speaker, items in recordings.items():
        possible.setdefault(speaker.name, []).extend(_clips_of(split, speaker, items, rng))
    shares = share_out(count, {name: len(clips) for name, clips in possible.items()})
    chosen = [clip for name, clips in possible.items() for clip in _shuffle(clips, rng)[: shares[name]]]
    channels = _channels(rng)
    return [dataclasses.replace(clip, channel=next(channels)) for clip in _shuffle(chosen, rng)]


def _clips_of(
    split: str, speaker: Speaker, recordings: Sequence[Recording], rng: np.random.Generator
) -> Iterator[LargeClip]:
    """All clips for which a speaker's recordings suffice, each recording in one."""
    by_medium: dict[str, list[Recording]] = {}
    for recording in _shuffle(recordings, rng):
        by_medium.setdefault(recording.medium, []).append(recording)
    for medium, items in sorted(by_medium.items()):
        material: list[Recording] = []
        seconds = float(rng.uniform(SHORTEST, LONGEST))
        for recording in items:
            material.append(recording)
            there = _SPEECH_SHARE * sum(item.seconds for item in material)
            if there < seconds and not speaker.several:
                continue
            yield LargeClip(
                **of_voice(speaker, split),
                utterance="",
                seconds=seconds,
                channel="",
                material=tuple(item.path for item in material),
                medium=medium,
            )
            material, seconds = [], float(rng.uniform(SHORTEST, LONGEST))


def share_out(count: int, most: Mapping[str, int]) -> dict[str, int]:
    """So many things shared out equally, though none gets more than its most; all get their most if that is too few."""
    shares = dict.fromkeys(most, 0)
    left = min(count, sum(most.values()))
    while left:
        hungry = [name for name in most if shares[name] < most[name]]
        for name in hungry[:left]:
            portion = min(max(left // len(hungry), 1), most[name] - shares[name])
            shares[name] += portion
        left = min(count, sum(most.values())) - sum(shares.values())
    return shares


def _synthetic(
    split: str,
    count: int,
    rng: np.random.Generator,
    human: Sequence[LargeClip],
    systems: Sequence[System],
    texts: Mapping[str, Sequence[str]],
) -> list[tuple[int, LargeClip]]:
    """The spoofed clips, each with the number of the human clip that it comes from."""
    voices = {system.name: cycle(system.voices.get(split, ())) for system in systems}
    # In a fixed order of the languages, since each draws from the same random numbers.
    readings = {language: cycle(_shuffle(items, rng)) for language, items in sorted(texts.items())}
    channels = {system.name: _channels(rng) for system in systems}
    origins = {system.name: cycle(rng.permutation(len(human)).tolist()) for system in systems}
    made = []
    for system in islice(cycle(systems), count):
        number = next(origins[system.name])
        origin = human[number]
        clip = dataclasses.replace(origin, attack=system.name, channel=next(channels[system.name]), material=())
        if not system.copies:
            voice, language = next(voices[system.name])
            letters, material = 0, []
            while letters < _LETTERS_PER_SECOND * origin.seconds:
                material.append(next(readings[language]))
                letters += len(material[-1])
            clip = dataclasses.replace(
                clip,
                speaker=f"{system.name}_{voice}",
                language=language.partition("_")[0],
                source=system.name,
                voice=voice,
                material=tuple(material),
            )
        made.append((number, clip))
    return made


def _named(
    split: str, rng: np.random.Generator, human: Sequence[LargeClip], made: Sequence[tuple[int, LargeClip]]
) -> list[Group]:
    """Give names whose order does not tell the class, and put what is made from a human clip beside it."""
    numbers = rng.permutation(len(human) + len(made))
    names = iter([f"LC_{split[0].upper()}_{1_000_000 + number}" for number in numbers])
    named = [dataclasses.replace(clip, utterance=next(names)) for clip in human]
    derived: list[list[LargeClip]] = [[] for _ in named]
    for number, clip in made:
        derived[number].append(dataclasses.replace(clip, utterance=next(names), origin=named[number].utterance))
    return [Group(clip, tuple(others)) for clip, others in zip(named, derived, strict=True)]


def _channels(rng: np.random.Generator) -> Iterator[str]:
    """Every second clip is clean; the others take the other channels in turn."""
    noisy = [str(name) for name in rng.permutation(CHANNELS[1:])]
    return cycle(name for other in noisy for name in (CHANNELS[0], other))


def _shuffle(items: Sequence[_T], rng: np.random.Generator) -> list[_T]:
    return [items[index] for index in rng.permutation(len(items))]
