"""The numbers of labels, attacks and speakers."""

from pathlib import Path

import numpy as np

from aasist_jax.data.labels import attack_names, record_labels, speaker_names
from aasist_jax.data.utterances import Utterance


def clip(attack: str, speaker: str) -> Utterance:
    label = "bonafide" if attack == "-" else "spoof"
    return Utterance(f"{attack} {speaker}", Path("clip.flac"), label, attack, speaker, "list:1")


TRAIN = [clip("A02", "bob"), clip("-", "ann"), clip("A01", "-"), clip("unknown", "bob"), clip("A02", "ann")]


def test_names_are_sorted_and_what_is_unstated_has_none() -> None:
    assert attack_names(TRAIN) == ["A01", "A02"]
    assert speaker_names(TRAIN) == ["ann", "bob"]


def test_the_numbers_of_the_clips_own_split() -> None:
    labels = record_labels(TRAIN)
    assert {name: (numbers.dtype.name, numbers.tolist()) for name, numbers in labels.items()} == {
        "label": ("int32", [0, 1, 0, 0, 0]),
        "attack": ("int32", [2, 0, 1, -1, 2]),
        "speaker": ("int32", [1, 0, -1, 1, 0]),
    }


def test_another_split_is_numbered_as_the_training_split_is() -> None:
    dev = [clip("A02", "cid"), clip("A07", "bob"), clip("-", "dan")]
    labels = record_labels(dev, attack_names(TRAIN), speaker_names(TRAIN))
    np.testing.assert_array_equal(labels["label"], [0, 0, 1])
    np.testing.assert_array_equal(labels["attack"], [2, -1, 0])
    np.testing.assert_array_equal(labels["speaker"], [-1, 1, -1])


def test_no_clips_have_no_numbers() -> None:
    assert {numbers.shape for numbers in record_labels([]).values()} == {(0,)}
