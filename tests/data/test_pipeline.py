"""The input pipelines: order, crops, sharding, resumption, and what a worker process carries."""

import itertools
import json
import pickle
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aasist_jax import data
from aasist_jax.audio.load import load_audio
from aasist_jax.audio.windows import first_window
from aasist_jax.augmentation import Chain, OneOf
from aasist_jax.augmentation.codec import CodecChange
from aasist_jax.augmentation.level import Level
from aasist_jax.augmentation.noise import Noise
from aasist_jax.augmentation.rawboost import RawBoost
from aasist_jax.augmentation.speed import Speed
from aasist_jax.augmentation.splicing import Splicing
from aasist_jax.data.cache import open_cache
from aasist_jax.data.pipeline import ClipSource, OtherVoices, eval_dataset, train_dataset
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import AudioError, DataError
from aasist_jax.models.family import Window

SAMPLES = 4000
WINDOW = Window(SAMPLES, shortest=1)
ANY_LENGTH = Window(SAMPLES, shortest=1, fixed=False)
Batch = dict[str, np.ndarray]


def take(iterator: Iterator[Batch], count: int | None = None) -> list[Batch]:
    """Copies, since batches from workers live in shared memory."""
    return [{name: np.array(value) for name, value in batch.items()} for batch in itertools.islice(iterator, count)]


def assert_same(left: list[Batch], right: list[Batch]) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def train(utterances: list[Utterance], **options: int | Window | Chain | None) -> object:
    defaults = {"window": WINDOW, "batch_size": 4, "seed": 7, "epochs": 2}
    return train_dataset(ClipSource(utterances), **(defaults | options))


def test_shapes_types_and_labels(utterances: list[Utterance]) -> None:
    batches = take(iter(train(utterances)))
    assert len(batches) == 2 * (23 // 4)
    for batch in batches:
        assert {name: (value.shape, value.dtype.name) for name, value in batch.items()} == {
            "wave": ((4, SAMPLES), "float32"),
            "label": ((4,), "int32"),
            "index": ((4,), "int32"),
        }
        expected = [utterances[index].label == "bonafide" for index in batch["index"]]
        np.testing.assert_array_equal(batch["label"], expected)


def test_waves_are_crops_of_their_clips(utterances: list[Utterance]) -> None:
    starts = set()
    for batch in take(iter(train(utterances))):
        for wave, index in zip(batch["wave"], batch["index"], strict=True):
            clip = load_audio(utterances[index].path)
            if clip.size <= SAMPLES:
                np.testing.assert_array_equal(wave, first_window(clip, SAMPLES))
            else:
                windows = np.lib.stride_tricks.sliding_window_view(clip, SAMPLES)
                (start,) = np.flatnonzero((windows == wave).all(axis=1))
                starts.add(int(start))
    assert len(starts) > 10  # drawn anew for each clip


def test_every_epoch_has_each_clip_at_most_once_in_its_own_order(utterances: list[Utterance]) -> None:
    indices = np.concatenate([batch["index"] for batch in take(iter(train(utterances, epochs=6)))]).reshape(6, 20)
    for epoch in indices:
        assert len(set(epoch)) == 20  # 23 clips, of which the last partial batch is dropped
    assert len({tuple(epoch) for epoch in indices}) == 6
    assert set(indices.ravel()) == set(range(23))  # it is not always the same three that are dropped


def test_a_whole_number_of_batches_leaves_no_clip_out(utterances: list[Utterance]) -> None:
    indices = np.concatenate([batch["index"] for batch in take(iter(train(utterances[:20])))])
    for epoch in indices.reshape(2, 20):
        assert set(epoch) == set(range(20))


def test_crops_differ_between_epochs(utterances: list[Utterance]) -> None:
    longest = max(range(23), key=lambda index: load_audio(utterances[index].path).size)
    waves = []
    for batch in take(iter(train([utterances[longest]] * 4, epochs=3))):
        waves += [wave.tobytes() for wave in batch["wave"]]
    assert len(set(waves)) == 12


def test_the_seed_decides_everything(utterances: list[Utterance]) -> None:
    batches = take(iter(train(utterances)))
    assert_same(batches, take(iter(train(utterances))))
    other = take(iter(train(utterances, seed=8)))
    assert [tuple(batch["index"]) for batch in batches] != [tuple(batch["index"]) for batch in other]


def test_endless_by_default(utterances: list[Utterance]) -> None:
    dataset = train(utterances, epochs=None)
    assert dataset.steps_per_epoch == 5
    assert_same(take(iter(dataset), 10), take(iter(train(utterances))))


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_share_each_global_batch_in_contiguous_parts(utterances: list[Utterance], process_count: int) -> None:
    whole = take(iter(train(utterances, batch_size=8)))
    parts = [
        take(iter(train(utterances, batch_size=8, process_index=index, process_count=process_count)))
        for index in range(process_count)
    ]
    joined = [
        {name: np.concatenate([batch[name] for batch in group]) for name in group[0]}
        for group in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)


def test_resuming_at_any_batch_gives_the_same_rest(utterances: list[Utterance]) -> None:
    whole = take(iter(train(utterances)))
    iterator = iter(train(utterances))
    for done in range(len(whole) + 1):
        state = json.loads(json.dumps(iterator.get_state()))
        assert state == {"next_batch": done}
        resumed = iter(train(utterances))
        resumed.set_state(state)
        assert_same(take(resumed), whole[done:])
        assert_same(take(iterator, 1), whole[done : done + 1])


def test_workers_change_nothing_and_a_state_outlives_their_number(utterances: list[Utterance]) -> None:
    whole = take(iter(train(utterances)))
    alone = iter(train(utterances))
    take(alone, 3)
    iterator = iter(train(utterances, workers=2))
    try:
        iterator.set_state(alone.get_state())
        assert_same(take(iterator, 4), whole[3:7])
        state = iterator.get_state()
        assert_same(take(iterator), whole[7:])
    finally:
        iterator.close()
    alone.set_state(state)
    assert_same(take(alone), whole[7:])


@pytest.mark.slow
def test_resuming_with_workers_at_any_batch(utterances: list[Utterance]) -> None:
    whole = take(iter(train(utterances)))
    resumed = iter(train(utterances, workers=2))
    try:
        for done in range(len(whole) + 1):
            resumed.set_state({"next_batch": done})
            assert_same(take(resumed), whole[done:])
    finally:
        resumed.close()


# Changes of length, random numbers, other clips, a decoder's state: what could differ from one process to another.
AUGMENTATION = (
    Speed(factor=(0.7, 1.4)),
    OneOf((Noise(source="babble"), RawBoost(algorithm=4), Splicing()), probability=0.8),
    CodecChange(probability=0.5, codecs=("mulaw", "gsm", "vorbis")),
)


def test_augmented_batches_follow_from_the_seed_and_the_position(utterances: list[Utterance]) -> None:
    whole = take(iter(train(utterances, augmentation=AUGMENTATION)))
    assert {batch["wave"].shape for batch in whole} == {(4, SAMPLES)}
    assert all(np.isfinite(batch["wave"]).all() for batch in whole)
    assert_same(whole, take(iter(train(utterances, augmentation=AUGMENTATION))))
    iterator = iter(train(utterances, augmentation=AUGMENTATION, workers=2))
    try:
        iterator.set_state({"next_batch": 3})
        assert_same(take(iterator), whole[3:])
    finally:
        iterator.close()
    other = take(iter(train(utterances, augmentation=AUGMENTATION, seed=8)))
    assert not any(np.array_equal(one["wave"], two["wave"]) for one, two in zip(whole, other, strict=True))


def test_every_epoch_is_augmented_anew(utterances: list[Utterance]) -> None:
    noise = (Noise(source="white"),)
    short = min(range(23), key=lambda index: load_audio(utterances[index].path).size)
    batches = take(iter(train([utterances[short]] * 4, epochs=3, augmentation=noise)))
    assert len({wave.tobytes() for batch in batches for wave in batch["wave"]}) == 12


def test_without_augmentation_batches_are_what_they_were(utterances: list[Utterance]) -> None:
    plain = take(iter(train(utterances)))
    assert_same(plain, take(iter(train(utterances, augmentation=()))))
    never = take(iter(train(utterances, augmentation=(Level(probability=0.0),))))
    np.testing.assert_array_equal([batch["index"] for batch in never], [batch["index"] for batch in plain])
    for batch in never:  # still crops of their clips
        for wave, index in zip(batch["wave"], batch["index"], strict=True):
            clip = load_audio(utterances[index].path)
            extended = first_window(clip, SAMPLES) if clip.size <= SAMPLES else clip
            assert (np.lib.stride_tricks.sliding_window_view(extended, SAMPLES) == wave).all(axis=1).any()


def test_a_piece_is_long_enough_for_a_window_also_after_what_shortens_it(utterances: list[Utterance]) -> None:
    """Of a network that is told the lengths: what is shorter than a window would be filled with zeros."""
    long = [each for each in utterances if load_audio(each.path).size >= 1.5 * SAMPLES][:4]
    fast = (Speed(factor=(1.5, 1.5)),)
    for batch in take(iter(train(long, window=ANY_LENGTH, augmentation=fast))):
        np.testing.assert_array_equal(batch["length"], [SAMPLES] * 4)


def test_babble_is_of_other_bona_fide_clips(utterances: list[Utterance]) -> None:
    voices = OtherVoices.of(ClipSource(utterances))
    bonafide = [index for index, each in enumerate(utterances) if each.label == "bonafide"]
    assert len(voices) == len(bonafide) > 2
    for position in range(23):
        others = voices.without(position)
        expected = [index for index in bonafide if index != position]
        assert len(others) == len(expected)
        for number in (0, len(expected) - 1):
            np.testing.assert_array_equal(others[number], load_audio(utterances[expected[number]].path))


@pytest.mark.parametrize("workers", [0, 1])
def test_augmentation_that_fails_is_told(utterances: list[Utterance], workers: int) -> None:
    spoof = [each for each in utterances if each.label == "spoof"]
    iterator = iter(train(spoof, augmentation=(Noise(source="babble"),), workers=workers))
    try:
        with pytest.raises(AudioError, match="babble is made of other bona fide clips, and there are none"):
            next(iterator)
    finally:
        iterator.close()


@pytest.mark.parametrize("state", [{}, {"next_batch": -1}, {"next_batch": 11}, {"next_batch": "3"}, [3]])
def test_states_of_something_else(utterances: list[Utterance], state: object) -> None:
    with pytest.raises(DataError, match="no state"):
        iter(train(utterances)).set_state(state)


def test_a_cache_changes_nothing(utterances: list[Utterance], tmp_path: Path) -> None:
    cached = ClipSource(utterances, open_cache(tmp_path, utterances))
    dataset = train_dataset(cached, window=WINDOW, batch_size=4, seed=7, epochs=2)
    assert_same(take(iter(dataset)), take(iter(train(utterances))))
    assert_same(
        take(iter(eval_dataset(pickle.loads(pickle.dumps(cached)), window=WINDOW, batch_size=4))),
        take(iter(eval_dataset(ClipSource(utterances), window=WINDOW, batch_size=4))),
    )
    with pytest.raises(DataError, match="23 clips, the list 22"):
        ClipSource(utterances[1:], cached.cache)


@pytest.mark.parametrize("count", [23, 20, 3])
def test_evaluation_sees_every_first_window_once_in_order(utterances: list[Utterance], count: int) -> None:
    batches = take(iter(eval_dataset(ClipSource(utterances[:count]), window=WINDOW, batch_size=4)))
    assert {batch["wave"].shape for batch in batches} == {(4, SAMPLES)}
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    assert joined["valid"].dtype == bool
    np.testing.assert_array_equal(joined["valid"], np.arange(len(batches) * 4) < count)
    np.testing.assert_array_equal(joined["index"][:count], np.arange(count))
    assert (joined["index"][count:] == -1).all()
    for wave, label, utterance in zip(joined["wave"], joined["label"], utterances[:count], strict=False):
        np.testing.assert_array_equal(wave, first_window(load_audio(utterance.path), SAMPLES))
        assert label == (utterance.label == "bonafide")


def test_zeros_fill_short_clips_and_their_lengths_are_told(utterances: list[Utterance]) -> None:
    repeated = take(iter(train(utterances)))
    padded = take(iter(train(utterances, window=ANY_LENGTH)))
    short = set()
    for batch, as_today in zip(padded, repeated, strict=True):
        assert batch["length"].shape == (4,)
        assert batch["length"].dtype == np.int32
        np.testing.assert_array_equal(batch["index"], as_today["index"])
        for wave, length, index, other in zip(
            batch["wave"], batch["length"], batch["index"], as_today["wave"], strict=True
        ):
            size = load_audio(utterances[index].path).size
            assert length == min(size, SAMPLES)
            # The same crop, and nothing behind it.
            np.testing.assert_array_equal(wave[:length], other[:length])
            assert not wave[length:].any()
            short |= {index} if size < SAMPLES else set()
    assert len(short) > 3


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_with_zeros(utterances: list[Utterance], workers: int) -> None:
    source = ClipSource(utterances[:6])
    batches = take(iter(eval_dataset(source, window=ANY_LENGTH, batch_size=4, workers=workers)))
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    waves = [load_audio(utterance.path)[:SAMPLES] for utterance in utterances[:6]]
    np.testing.assert_array_equal(joined["length"], [*(wave.size for wave in waves), SAMPLES, SAMPLES])
    for window, wave in zip(joined["wave"], waves, strict=False):
        np.testing.assert_array_equal(window, np.pad(wave, (0, SAMPLES - wave.size)))
    np.testing.assert_array_equal(joined["valid"], [True] * 6 + [False] * 2)
    assert not joined["wave"][6:].any()


def test_no_length_is_below_what_a_network_accepts(utterances: list[Utterance]) -> None:
    """A clip of fewer samples than one frame would otherwise be averaged over no frame."""
    longest = max(load_audio(utterance.path).size for utterance in utterances)
    window = Window(longest, shortest=longest - 100, fixed=False)
    batches = take(iter(eval_dataset(ClipSource(utterances), window=window, batch_size=4)))
    lengths = np.concatenate([batch["length"] for batch in batches])
    assert {longest - 100, longest} == set(lengths.tolist())


def test_evaluation_can_be_run_twice_and_shared(utterances: list[Utterance]) -> None:
    dataset = eval_dataset(ClipSource(utterances), window=WINDOW, batch_size=8)
    whole = take(iter(dataset))
    assert_same(take(iter(dataset)), whole)
    parts = [
        eval_dataset(ClipSource(utterances), window=WINDOW, batch_size=8, process_index=index, process_count=2)
        for index in range(2)
    ]
    for left, right, both in zip(*map(iter, parts), whole, strict=True):
        for name in both:
            np.testing.assert_array_equal(np.concatenate([left[name], right[name]]), both[name])


def test_impossible_batches(utterances: list[Utterance]) -> None:
    with pytest.raises(DataError, match="23 training clips do not fill one batch of 24"):
        train(utterances, batch_size=24)
    with pytest.raises(DataError, match="a batch of 4 cannot be shared evenly by 3 processes"):
        train(utterances, process_count=3)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_fails_is_named_by_its_protocol_line(tmp_path: Path, workers: int) -> None:
    bad = tmp_path / "bad.flac"
    bad.write_bytes(b"fLaC" + bytes(100))
    utterances = [Utterance(f"u{number}", bad, "spoof", "A01", "-", f"list.txt:{number}") for number in range(4)]
    iterator = iter(train(utterances, workers=workers))
    try:
        with pytest.raises(DataError, match=r"list\.txt:\d: .*bad\.flac: not audio"):
            next(iterator)
    finally:
        iterator.close()


class _Probe(ClipSource):
    """Gives, in place of samples, what its process has loaded."""

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        bridge = sys.modules.get("jax._src.xla_bridge")
        started = bridge is not None and bridge.backends_are_initialized()
        wave = np.float32(
            [started, "aasist_jax.models.network" in sys.modules, "torch" in sys.modules, "grain" in sys.modules]
        )
        return {"wave": wave, "label": np.int32(0), "index": np.int32(index)}


def test_workers_start_no_jax_device(utterances: list[Utterance]) -> None:
    iterator = iter(train_dataset(_Probe(utterances), window=Window(4, 1), batch_size=4, seed=0, workers=1))
    try:
        (batch,) = take(iterator, 1)
    finally:
        iterator.close()
    np.testing.assert_array_equal(batch["wave"], np.tile(np.float32([0, 0, 0, 1]), (4, 1)))


ON_GRAIN = ("feature_source", "feature_windows", "pairs", "pipeline", "splits")


def test_reading_audio_and_data_imports_no_jax() -> None:
    # The modules left out import Grain, which may import JAX; the next test is about them.
    modules = ["aasist_jax.audio.load", "aasist_jax.audio.windows"]
    for module in pkgutil.walk_packages(data.__path__, "aasist_jax.data."):
        if module.name.removeprefix("aasist_jax.data.") not in ON_GRAIN:
            modules.append(module.name)
    assert len(modules) > 8
    code = f"import sys, {', '.join(modules)}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", ON_GRAIN)
def test_the_pipeline_imports_only_what_grain_does(module: str) -> None:
    code = (
        f"import sys, grain; before = set(sys.modules); import aasist_jax.data.{module}; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    new = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"jax", "jaxlib", "flax", "torch", "optax", "orbax"} & set(new)
