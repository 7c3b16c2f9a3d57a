"""Numbers for the label, attack and speaker of each clip, as networks and losses need them."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int32

from aasist_jax.data.utterances import Utterance
from aasist_jax.models.family import LABELS

LABEL_INDEX = {label: index for index, label in enumerate(LABELS)}
"""The number of each label in a batch, and the index of its logit outside a network: 0 spoof, 1 bona fide."""

UNKNOWN = -1
"""The number for an unknown attack or speaker."""


def attack_names(utterances: Iterable[Utterance]) -> list[str]:
    """The names of the attacks among these clips, sorted, without "unknown"."""
    return sorted({utterance.attack for utterance in utterances} - {"-", "unknown"})


def speaker_names(utterances: Iterable[Utterance]) -> list[str]:
    """The names of the speakers among these clips, sorted, without "-" (unknown)."""
    return sorted({utterance.speaker for utterance in utterances} - {"-"})


def record_labels(
    utterances: Sequence[Utterance], attacks: Sequence[str] | None = None, speakers: Sequence[str] | None = None
) -> dict[str, Int32[np.ndarray, " clips"]]:
    """Number the label, the attack and the speaker of each clip.

    Args:
        utterances: the clips.
        attacks: the attacks in the order of their numbers: `attack_names` of the training split, so that a number
            means the same attack in every split. Default: those of `utterances`.
        speakers: the speakers in the order of their numbers, from `speaker_names`. Default: those of `utterances`.

    Returns:
        Three arrays with one number per clip, in the order of `utterances`. `label`: as in `LABEL_INDEX`. `attack`: 0
        for bona fide speech, 1 plus the position in `attacks` for a spoof, -1 for an attack that is not in `attacks`.
        `speaker`: the position in `speakers`, -1 for a speaker that is not in `speakers`.
    """
    attacks = attack_names(utterances) if attacks is None else attacks
    speakers = speaker_names(utterances) if speakers is None else speakers
    attack_numbers = {"-": 0} | {name: number for number, name in enumerate(attacks, start=1)}
    speaker_numbers = {name: number for number, name in enumerate(speakers)}
    return {
        "label": np.array([LABEL_INDEX[utterance.label] for utterance in utterances], np.int32),
        "attack": np.array([attack_numbers.get(utterance.attack, UNKNOWN) for utterance in utterances], np.int32),
        "speaker": np.array([speaker_numbers.get(utterance.speaker, UNKNOWN) for utterance in utterances], np.int32),
    }
