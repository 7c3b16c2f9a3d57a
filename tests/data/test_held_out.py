"""Systems that are held out of training: what train and dev are then, and what is refused."""

from pathlib import Path

import pytest

from aasist_jax.config.experiment import TrainConfig
from aasist_jax.data.held_out import without_held_out
from aasist_jax.data.utterances import Utterance, make_utterance
from aasist_jax.errors import DataError


def clips(split: str, *attacks: str) -> list[Utterance]:
    return [
        make_utterance(
            f"{split}_{attack}", Path(attack), "bonafide" if attack == "-" else "spoof", attack, "-", "list:1"
        )
        for attack in attacks
    ]


SPLITS = {
    "train": clips("train", "-", "A", "B", "C", "D", "unknown"),
    "dev": clips("dev", "-", "A", "B", "C", "E"),
    "eval": clips("eval", "-", "A", "F"),
}


def attacks(options: TrainConfig) -> tuple[str, str, tuple[str, ...]]:
    left, held_out = without_held_out(options, SPLITS)
    assert left["eval"] == SPLITS["eval"]
    train, dev = (" ".join(clip.attack for clip in left[name]) for name in ("train", "dev"))
    return train, dev, held_out


def test_by_default_nothing_is_held_out() -> None:
    assert without_held_out(TrainConfig(), SPLITS) == (SPLITS, ())


def test_named_systems() -> None:
    assert attacks(TrainConfig(held_out_systems=("B", "E"))) == ("- A C D unknown", "- B E", ("B", "E"))


def test_folds_share_the_common_systems() -> None:
    assert attacks(TrainConfig(folds=2, fold=0)) == ("- B D unknown", "- A C", ("A", "C"))
    assert attacks(TrainConfig(folds=2, fold=1)) == ("- A C D unknown", "- B", ("B",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TrainConfig(held_out_systems=("D",)), "dev has no system 'D'; there are A, B, C, E"),
        (TrainConfig(folds=4), "train and dev have 3 systems in common, A, B, C; 4 folds need as many"),
    ],
)
def test_what_cannot_be_held_out(options: TrainConfig, message: str) -> None:
    with pytest.raises(DataError, match=message):
        without_held_out(options, SPLITS)


def test_a_mistyped_system_and_no_system_left() -> None:
    splits = {"train": clips("train", "-", "world"), "dev": clips("dev", "-", "world", "piper")}
    with pytest.raises(DataError, match="dev has no system 'wrld'; did you mean 'world'"):
        without_held_out(TrainConfig(held_out_systems=("wrld",)), splits)
    with pytest.raises(DataError, match="no synthetic clip is left to train on; hold fewer systems out of world"):
        without_held_out(TrainConfig(held_out_systems=("world",)), splits)
