"""The usual names of columns in tables of clips, and the words and numbers for the two labels.

Lists of clips, key files and score files take them from here, so that a table means the same to all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Label = Literal["bonafide", "spoof"]

LABEL_NAMES: dict[str, Label] = {
    **dict.fromkeys(
        ("bonafide", "bona-fide", "bona_fide", "bona fide", "genuine", "real", "human", "authentic", "natural"),
        "bonafide",
    ),
    **dict.fromkeys(
        ("spoof", "spoofed", "fake", "deepfake", "synthetic", "synthesized", "synthesised", "generated"), "spoof"
    ),
}
"""The words for the two labels in tables, in upper or lower case."""

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "audio_path", "audio_file")
LABEL_COLUMNS = ("label", "key", "cm-label", "cm_label", "class", "target", "ground_truth")
SPLIT_COLUMNS = ("split", "subset", "fold", "partition")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "spk", "spk_id")
ATTACK_COLUMNS = ("attack", "attack_id", "attack_type", "attack-tag")

ONE_MEANS: dict[str, Label] = {
    **dict.fromkeys(("is_bonafide", "is_bona_fide", "is_real", "is_human", "is_genuine", "bonafide"), "bonafide"),
    **dict.fromkeys(("is_spoof", "is_fake", "is_synthetic", "is_deepfake", "spoof", "fake", "synthetic"), "spoof"),
}
"""Columns of 0 and 1 whose name says what 1 means."""

AUDIO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("wav", "flac", "mp3", "ogg", "oga", "opus", "m4a", "mp4", "aac", "webm", "mkv", "wma", "amr", "gsm"),
        *("mka", "mov", "3gp"),
        *("aif", "aiff", "aifc", "au", "snd", "caf", "w64", "rf64"),
    )
)
"""Ends of the names of audio files, in lower case."""

_ZERO_OR_ONE = {"0": "0", "0.0": "0", "false": "0", "1": "1", "1.0": "1", "true": "1"}


@dataclass(frozen=True)
class Meanings:
    """What the labels of a table mean.

    Attributes:
        labels: the label that each word stands for, in lower case; words that mean neither are absent.
        note: what was concluded and the user should know, in a line; mostly "".
        problem: why numbers mean nothing yet, without a full stop, so that the way out can follow; mostly "".
    """

    labels: Mapping[str, Label]
    note: str = ""
    problem: str = ""


def first_column(header: Sequence[str], names: Iterable[str]) -> str | None:
    """The first of the names that the header, in lower case, holds; None if it holds none."""
    return next((name for name in names if name in header), None)


def is_label(word: str) -> bool:
    """Whether a word can be a label: one of `LABEL_NAMES`, or 0 or 1."""
    return word.lower() in LABEL_NAMES or word.lower() in _ZERO_OR_ONE


def label_meanings(words: Iterable[str], column: str, bonafide_is: str = "") -> Meanings:
    """Find out what the labels in a column mean.

    Words are understood. What 0 and 1 mean follows from the name of the column (`ONE_MEANS`) or from `bonafide_is`
    and is never guessed.

    Args:
        words: the labels of all lines.
        column: the name of their column, in lower case; "" if it has none.
        bonafide_is: the label that means bona fide speech, such as "1"; "" if the user did not say.
    """
    distinct = sorted({word.strip().lower() for word in words} - {""})
    known = {word: LABEL_NAMES[word] for word in distinct if word in LABEL_NAMES}
    numbers = [word for word in distinct if word in _ZERO_OR_ONE]
    if bonafide_is:
        return _told(distinct, known, _plain(bonafide_is))
    if known or not numbers or len(numbers) < len(distinct):
        return Meanings(known)
    if column in ONE_MEANS:
        other: Label = "spoof" if ONE_MEANS[column] == "bonafide" else "bonafide"
        labels = {word: ONE_MEANS[column] if _plain(word) == "1" else other for word in numbers}
        return Meanings(labels, f"1 means {ONE_MEANS[column]}, by the name of the column {column}")
    return Meanings({}, "", f"the labels are {' and '.join(numbers)}, and nothing says which means bona fide")


def _told(distinct: Sequence[str], known: dict[str, Label], bonafide: str) -> Meanings:
    """The meanings where the user says which label means bona fide; words keep theirs."""
    if len(known) == len(distinct) and bonafide in _ZERO_OR_ONE.values():
        return Meanings(known)
    labels: dict[str, Label] = {word: "bonafide" if _plain(word) == bonafide else "spoof" for word in distinct}
    if contrary := [word for word, label in known.items() if labels[word] != label]:
        return Meanings({}, "", f"{bonafide!r} shall mean bona fide, but there is the word {contrary[0]!r}")
    plain = {_plain(word) for word in distinct}
    if len(plain) > 2 or (bonafide not in plain and not plain | {bonafide} <= {"0", "1"}):
        listed = ", ".join(distinct[:5]) + (", ..." if len(distinct) > 5 else "")
        return Meanings({}, "", f"{bonafide!r} shall mean bona fide, but the labels are {listed}")
    return Meanings(labels)


def _plain(word: str) -> str:
    lower = word.strip().lower()
    return _ZERO_OR_ONE.get(lower, lower)
