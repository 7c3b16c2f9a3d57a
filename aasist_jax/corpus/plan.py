"""Plans the corpus before anything is made: every clip with its voice, attack and channel."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal, TypeVar

import numpy as np

from aasist_jax.corpus.channel import CHANNELS
from aasist_jax.corpus.sentences import SENTENCES
from aasist_jax.corpus.speech import VOICES, Voice

SPLITS = ("train", "dev", "eval")

SHORTEST, LONGEST = 2.6, 4.4
"""The range from which the length of a clip is drawn, in seconds."""

Kind = Literal["copy", "speech"]
_T = TypeVar("_T")


@dataclass(frozen=True)
class ClipCounts:
    """The number of clips of each split, of both classes together; half of them are bona fide."""

    train: int = 300
    dev: int = 96
    eval: int = 160


@dataclass(frozen=True)
class Attack:
    """A synthesis system and its voices, (system's name, language), in each split in which it is used.

    Copy synthesis ("copy") uses the recordings of the split and lists no voices.
    """

    name: str
    kind: Kind
    splits: tuple[str, ...]
    voices: Mapping[str, tuple[tuple[str, str], ...]]


def _copy(name: str, *splits: str) -> Attack:
    return Attack(name, "copy", splits, {})


def _speech(name: str, **voices: tuple[tuple[str, str], ...]) -> Attack:
    return Attack(name, "speech", tuple(voices), voices)


# No voice is in two splits, and three attacks are only in eval, one of them neural.
ATTACKS: tuple[Attack, ...] = (
    _copy("world", *SPLITS),
    _copy("griffin", *SPLITS),
    _copy("lpc", *SPLITS),
    _speech(
        "espeak",
        train=(("en-us", "en"), ("es", "es"), ("en-gb+f2", "en"), ("fr+m3", "fr"), ("cs", "cs"), ("en-us+m7", "en")),
        dev=(("en-us+f5", "en"), ("it+m2", "it"), ("da+f1", "da")),
        eval=(("en-gb-scotland+m1", "en"), ("ru+f4", "ru"), ("ro+m4", "ro"), ("en-us+f3", "en")),
    ),
    _speech("flite", train=(("awb", "en"),), dev=(("kal16", "en"),), eval=(("rms", "en"),)),
    _speech("hibari", train=(("heart", "en"),)),
    _copy("world_coded", "eval"),
    _speech("hts", eval=(("cmu_us_slt_arctic_hts", "en"),)),
    _speech("piper", eval=(("joe", "en"),)),
)


@dataclass(frozen=True)
class Clip:
    """One clip to be made.

    Attributes:
        utterance: Name of the clip in the protocol.
        attack: "-" for bona fide.
        speaker: The voice's name; a copy has the speaker of its source.
        source: The package of the recordings, or the system.
        seconds: Length of the clip.
        channel: One of `channel.CHANNELS`.
        material: Recordings (paths below the unpacked root), for speech synthesis sentences; empty for a copy.
        origin: The bona fide utterance that is copied, or whose spectrum and room tone are taken on.
        voice: For speech synthesis the system's own name of the voice.
    """

    utterance: str
    split: str
    attack: str
    speaker: str
    language: str
    source: str
    seconds: float
    channel: str
    material: tuple[str, ...]
    origin: str = ""
    voice: str = ""

    @property
    def label(self) -> str:
        """ "bonafide" or "spoof", as the protocols say it."""
        return "bonafide" if self.attack == "-" else "spoof"

    @property
    def seed(self) -> int:
        """A seed for the clip, the same in every run."""
        return zlib.crc32(self.utterance.encode())


def of_voice(voice: Voice, split: str) -> dict[str, str]:
    """The fields of a bona fide clip that follow from who speaks."""
    who = {"speaker": voice.name, "language": voice.language, "source": voice.package}
    return who | {"split": split, "attack": "-"}


def attacks_of(split: str) -> list[Attack]:
    """The attacks that appear in a split."""
    return [attack for attack in ATTACKS if split in attack.splits]


def plan_corpus(counts: ClipCounts, seed: int, recordings: Mapping[Voice, Sequence[tuple[str, float]]]) -> list[Clip]:
    """Plan all clips.

    Args:
        counts: Clips per split.
        seed: Seed of all choices.
        recordings: Paths and lengths in seconds for each voice, from `speech.recordings`.

    Returns:
        The clips by split, bona fide first. Within a class, the channels are distributed evenly.
    """
    rng = np.random.default_rng([seed, 1])
    clips: list[Clip] = []
    for split in SPLITS:
        total = getattr(counts, split)
        names = _names(split, total, rng)
        human = _human(split, total - total // 2, names, rng, recordings)
        clips += human
        clips += _synthetic(split, total // 2, names, rng, human)
    return clips


def _names(split: str, count: int, rng: np.random.Generator) -> Iterator[str]:
    """Names whose order does not reveal the class."""
    numbers = rng.permutation(count)
    return iter([f"QS_{split[0].upper()}_{1_000_000 + number}" for number in numbers])


def _channels(rng: np.random.Generator) -> Iterator[str]:
    """Every second clip is clean; the others take the other channels in turn."""
    noisy = list(rng.permutation(CHANNELS[1:]))
    return cycle(name for other in noisy for name in (CHANNELS[0], str(other)))


def _human(
    split: str,
    count: int,
    names: Iterator[str],
    rng: np.random.Generator,
    recordings: Mapping[Voice, Sequence[tuple[str, float]]],
) -> list[Clip]:
    voices = [voice for voice in VOICES if voice.split == split]
    shuffled = {voice: cycle(_shuffle(recordings[voice], rng)) for voice in voices}
    channels = _channels(rng)
    clips = []
    for voice in islice(cycle(voices), count):
        seconds = float(rng.uniform(SHORTEST, LONGEST))
        material, there = [], 0.0
        # Trimming may remove up to half of a recording; a long one is cut.
        while there < 2 * seconds:
            path, length = next(shuffled[voice])
            material.append(path)
            there += length
        clips.append(
            Clip(
                **of_voice(voice, split),
                utterance=next(names),
                seconds=seconds,
                channel=next(channels),
                material=tuple(material),
            )
        )
    return clips


def _synthetic(
    split: str, count: int, names: Iterator[str], rng: np.random.Generator, human: Sequence[Clip]
) -> list[Clip]:
    attacks = attacks_of(split)
    voices = {attack.name: cycle(attack.voices.get(split, ())) for attack in attacks}
    sentences = {language: cycle(_shuffle(texts, rng)) for language, texts in SENTENCES[split].items()}
    channels = {attack.name: _channels(rng) for attack in attacks}
    origins = {attack.name: cycle(_shuffle(human, rng)) for attack in attacks}
    clips = []
    for attack in islice(cycle(attacks), count):
        origin = next(origins[attack.name])
        speaker, language, source, voice = origin.speaker, origin.language, origin.source, ""
        material: tuple[str, ...] = ()
        if attack.kind == "speech":
            voice, language = next(voices[attack.name])
            speaker, source = f"{attack.name}_{voice}", attack.name
            material = tuple(islice(sentences[language], 3))
        clips.append(
            Clip(
                utterance=next(names),
                split=split,
                attack=attack.name,
                speaker=speaker,
                language=language,
                source=source,
                seconds=origin.seconds,
                channel=next(channels[attack.name]),
                material=material,
                origin=origin.utterance,
                voice=voice,
            )
        )
    return clips


def _shuffle(items: Sequence[_T], rng: np.random.Generator) -> list[_T]:
    return [items[index] for index in rng.permutation(len(items))]
