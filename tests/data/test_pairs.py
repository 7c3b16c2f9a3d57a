"""Batches of drawn clips and of pairs: an original, then its copy, changed alike; resumed at any position."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.augmentation.noise import Noise
from aasist_jax.augmentation.splicing import Splicing
from aasist_jax.data.pipeline import ClipSource, TrainDataset, train_dataset
from aasist_jax.data.sampling import make_draw
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import DataError
from aasist_jax.models.family import Window
from tests.data.test_pipeline import assert_same, take

BATCH = 4
WINDOW = Window(1000, shortest=1)


@pytest.fixture
def paired(utterances: list[Utterance], tmp_path: Path) -> list[Utterance]:
    """Each bona fide clip, and two copies of it with the same samples, so that pairs can be compared."""
    made = []
    for original in [clip for clip in utterances if clip.label == "bonafide"][:6]:
        made.append(original)
        for number in range(2):
            name = f"{original.utterance}_{number}"
            soundfile.write(tmp_path / f"{name}.wav", *soundfile.read(original.path, dtype="int16"))
            fields = {"utterance": name, "path": tmp_path / f"{name}.wav", "label": "spoof", "attack": f"A{number}"}
            made.append(dataclasses.replace(original, **fields, copy_of=original.utterance))
    return made


def batches_of(clips: list[Utterance], *, pairs: bool = True, **options: object) -> TrainDataset:
    draw = make_draw(clips, balance=() if pairs else ("class",), pairs=pairs, batch_size=BATCH, seed=7)
    defaults = {"window": WINDOW, "batch_size": BATCH, "seed": 7, "epochs": 3, "draw": draw}
    return train_dataset(ClipSource(clips), **(defaults | options))


CHAIN = (Splicing(), Noise(source="babble", snr=(0.0, 10.0)), Noise(source="white", probability=0.5))


@pytest.mark.parametrize("chain", [(), CHAIN])
def test_each_copy_follows_its_original_and_is_changed_alike(
    paired: list[Utterance], chain: tuple[object, ...]
) -> None:
    """With equal samples before, there are equal samples after, the babble included."""
    changed = []
    for batch in take(iter(batches_of(paired, augmentation=chain))):
        assert {name: array.shape for name, array in batch.items()} == {
            "wave": (BATCH, 1000),
            "label": (BATCH,),
            "index": (BATCH,),
        }
        assert batch["label"].tolist() == [1, 0] * (BATCH // 2)
        for i in range(0, BATCH, 2):
            original, copy = batch["index"][i : i + 2]
            assert paired[copy].copy_of == paired[original].utterance
            np.testing.assert_array_equal(batch["wave"][i], batch["wave"][i + 1])
            changed.append(batch["wave"][i].tobytes())
    assert len(set(changed)) == len(changed) == 3 * 4 * BATCH // 2


@pytest.mark.parametrize("pairs", [False, True])
def test_resuming_at_any_batch_gives_the_same_rest(paired: list[Utterance], pairs: bool) -> None:
    dataset = batches_of(paired, pairs=pairs, augmentation=CHAIN)
    whole = take(iter(dataset))
    assert len(whole) == 3 * (18 // BATCH)
    for position in (1, 4, 7):
        iterator = iter(dataset)
        iterator.set_state({"next_batch": position})
        assert_same(whole[position:], take(iterator))
        iterator.close()


@pytest.mark.parametrize("pairs", [False, True])
def test_workers_and_processes_change_nothing(paired: list[Utterance], pairs: bool) -> None:
    whole = take(iter(batches_of(paired, pairs=pairs, augmentation=CHAIN)))
    iterator = iter(batches_of(paired, pairs=pairs, augmentation=CHAIN, workers=1))
    assert_same(whole, take(iterator))
    iterator.close()
    parts = [
        take(iter(batches_of(paired, pairs=pairs, augmentation=CHAIN, process_index=i, process_count=2)))
        for i in range(2)
    ]
    joined = [
        {name: np.concatenate([one[name], other[name]]) for name in one} for one, other in zip(*parts, strict=True)
    ]
    assert_same(whole, joined)


def test_a_pair_is_not_torn_apart(paired: list[Utterance]) -> None:
    with pytest.raises(DataError, match="the pairs of a batch of 4 cannot be shared evenly by 4 processes"):
        batches_of(paired, process_count=4)


def test_the_copy_of_a_short_clip_is_extended_alike(paired: list[Utterance]) -> None:
    long = Window(9000, shortest=1, fixed=False)
    batch = take(iter(batches_of(paired, window=long)), 1)[0]
    assert batch["length"].shape == (BATCH,)
    np.testing.assert_array_equal(batch["wave"][::2], batch["wave"][1::2])
