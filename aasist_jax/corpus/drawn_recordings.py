"""Draws which voices of a corpus are in a recording, what they do, and what happens to it on its way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from aasist_jax.corpus.conversations import MadeRecording, converse, speak
from aasist_jax.corpus.degradations import DEGRADATIONS
from aasist_jax.corpus.voices import (
    Source,
    best_fitting,
    human_voices,
    list_sources,
    of_others,
    read_voice,
    synthetic_voices,
)
from aasist_jax.errors import DataError, nearest

Kind = Literal["human-human", "human-synthetic", "one-voice", "inserted"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Conversations of two humans, and of a human and an attack; a human alone, without and with 4 s of an attack."""

_Voices = Mapping[str, tuple[Source, ...]]


@dataclass(frozen=True)
class Request:
    """What is to be drawn.

    Attributes:
        kinds: those that are made, in turn.
        count: how many recordings.
        channels: 1 or 2 of a conversation; a voice alone has one.
        seconds: how long each is, at the least.
        degradation: one of `DEGRADATIONS`, of each channel by itself, or None.
        seed: the same one gives the same recordings from the same corpus.
    """

    kinds: tuple[Kind, ...] = KINDS
    count: int = 20
    channels: int = 1
    seconds: float = 60.0
    degradation: str | None = None
    seed: int = 0


def draw_recordings(corpus: Path, split: str, request: Request) -> Iterator[tuple[str, MadeRecording]]:
    """Names and recordings, made one by one; each depends on the seed and its number alone.

    Args:
        corpus: a folder with `metadata.csv` and the clips, as `build_corpus` makes it.
        split: the one whose clips are used.
        request: what to draw.

    Raises:
        DataError: at the call: there is no such corpus, split or degradation, or the split has too few voices.
        AudioError: on the way: a clip cannot be read.
    """
    if request.degradation is not None and request.degradation not in DEGRADATIONS:
        raise DataError(f"degradation {request.degradation!r}: {nearest(request.degradation, DEGRADATIONS)}")
    sources = list_sources(corpus, split)
    humans, attacks = human_voices(sources), synthetic_voices(sources)
    if len(humans) < 2 or not attacks:
        raise DataError(
            f"{corpus}: split {split!r} has {len(humans)} human voices and {len(attacks)} attacks, fewer than 2 and 1; "
            "take another split"
        )
    return _drawn(humans, attacks, request)


def degrade(recording: MadeRecording, name: str, rng: np.random.Generator) -> MadeRecording:
    """The recording with one of `DEGRADATIONS` on each channel; the turns stay as they are."""
    channels = recording.wave.reshape(len(recording.wave), -1).T.astype(np.float64)
    changed = np.stack([DEGRADATIONS[name](channel, rng) for channel in channels], axis=1)
    limited = np.clip(changed, -1.0, 32767 / 32768).reshape(recording.wave.shape)
    return MadeRecording(limited.astype(np.float32), recording.turns)


def _drawn(humans: _Voices, attacks: _Voices, request: Request) -> Iterator[tuple[str, MadeRecording]]:
    for number in range(request.count):
        kind = request.kinds[number % len(request.kinds)]
        rng = np.random.default_rng([request.seed, number])
        recording = _make(kind, humans, attacks, request, rng)
        if request.degradation is not None:
            recording = degrade(recording, request.degradation, rng)
        yield f"{number + 1:04d}-{kind}", recording


def _make(kind: Kind, humans: _Voices, attacks: _Voices, request: Request, rng: np.random.Generator) -> MadeRecording:
    name = _one_of(list(humans), rng)
    human = read_voice(humans[name])
    if kind == "one-voice":
        return speak(human, request.seconds, rng)
    if kind == "human-human":
        other = humans[_one_of([each for each in humans if each != name], rng)]
    else:
        attack = attacks[_one_of(list(attacks), rng)]
        if kind == "inserted":
            fitting = best_fitting(attack, humans[name][0], rng)
            return speak(human, request.seconds, rng, inserted=read_voice(fitting))
        # An attack that has copied this speaker alone has no clips of others.
        other = of_others(attack, name) or attack
    voices = [human, read_voice(other)]
    if rng.integers(2):
        voices.reverse()
    return converse(voices[0], voices[1], request.seconds, rng, request.channels)


def _one_of(names: Sequence[str], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]
