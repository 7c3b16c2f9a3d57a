"""Batches of stored features, and the windows that they are computed from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from aasist_jax.augmentation.noise import AUGMENTATION as NOISE
from aasist_jax.data.feature_file import StoredFeatures
from aasist_jax.data.feature_source import FeatureSource
from aasist_jax.data.feature_windows import Version, contents_of, window_batches
from aasist_jax.data.pipeline import ClipSource, eval_dataset, train_dataset
from aasist_jax.data.sampling import make_draw
from aasist_jax.data.utterances import Utterance, make_utterance
from aasist_jax.models.family import Window

WINDOW = Window(400, 100, fixed=False)


def clips(folder: Path, count: int = 7) -> list[Utterance]:
    rng, found = np.random.default_rng(0), []
    for i in range(count):
        path = folder / f"{i}.wav"
        soundfile.write(path, rng.normal(scale=0.1, size=rng.integers(150, 900)), 16_000)
        found.append(make_utterance(str(i), path, "bonafide" if i % 2 else "spoof", "-" if i % 2 else "A", "s", "list"))
    return found


def source(utterances: list[Utterance], versions: int) -> FeatureSource:
    """The features of clip i in version v are 10 * i + v, stored backwards."""
    count = len(utterances)
    stored = [
        StoredFeatures(
            (10 * np.arange(count)[::-1, None] + v + np.zeros((1, 3))).astype(np.float16),
            np.arange(count)[::-1].copy(),
            np.full(count, 300 + v, np.int32),
            (1, 3),
        )
        for v in range(versions)
    ]
    return FeatureSource(utterances, stored, has_lengths=True)


def test_epochs_take_the_versions_in_turn(tmp_path: Path) -> None:
    features = source(clips(tmp_path), 3)
    batches = train_dataset(features, window=WINDOW, batch_size=2, seed=5, epochs=6)
    orders = []
    for number, batch in enumerate(batches):
        version = number // 3 % 3
        assert batch["wave"].dtype == np.float16
        np.testing.assert_array_equal(batch["wave"], (10 * batch["index"] + version)[:, None] + np.zeros((1, 3)))
        np.testing.assert_array_equal(batch["length"], 300 + version)
        np.testing.assert_array_equal(batch["label"], batch["index"] % 2)
        orders.append(batch["index"].tolist())
    assert number == 17
    for epoch in range(0, 18, 3):
        assert len({i for order in orders[epoch : epoch + 3] for i in order}) == 6
    assert orders[:3] != orders[9:12]


def test_pairs_of_features_take_the_versions_in_turn_as_well(tmp_path: Path) -> None:
    """An epoch has three pairs of the seven clips, and they decide when the next version comes."""
    utterances = [
        replace(clip, copy_of=str(i + 1)) if i in (0, 2, 4) else clip for i, clip in enumerate(clips(tmp_path))
    ]
    draw = make_draw(utterances, balance=(), pairs=True, batch_size=2, seed=5)
    seen = []
    for number, batch in enumerate(
        train_dataset(source(utterances, 3), window=WINDOW, batch_size=2, seed=5, epochs=6, draw=draw)
    ):
        original, copy = batch["index"].tolist()
        assert (utterances[copy].copy_of, batch["label"].tolist()) == (str(original), [1, 0])
        assert batch["wave"].tolist() == [[10 * i + number // 3 % 3] * 3 for i in (original, copy)]
        seen.append(original)
    assert [sorted(seen[epoch : epoch + 3]) for epoch in range(0, 18, 3)] == [[1, 3, 5]] * 6


def test_what_is_drawn_for_a_copy_is_what_is_drawn_for_its_original(tmp_path: Path) -> None:
    original = clips(tmp_path)[1]
    # The same samples in another file, whose content therefore is another one.
    soundfile.write(tmp_path / "copy.flac", *soundfile.read(original.path))
    fields = {"utterance": "copy", "path": tmp_path / "copy.flac", "label": "spoof", "attack": "A"}
    copy = replace(original, **fields, copy_of=original.utterance)

    def windows(made: Utterance) -> np.ndarray:
        listed = [original, made]
        version = Version(ClipSource(listed), contents_of(listed), WINDOW, 0, (NOISE(source="white"),))
        assert len({version.name(0), version.name(1)}) == 2
        (batch,) = window_batches(version, [0, 1], 2, workers=0)
        return batch["wave"]

    np.testing.assert_array_equal(*windows(copy))
    assert not np.array_equal(*windows(replace(copy, copy_of="")))


def test_the_order_is_that_of_the_waves(tmp_path: Path) -> None:
    utterances = clips(tmp_path)
    both = (source(utterances, 1), ClipSource(utterances))
    rows, waves = (train_dataset(each, window=WINDOW, batch_size=2, seed=5, epochs=2) for each in both)
    for row, wave in zip(rows, waves, strict=True):
        np.testing.assert_array_equal(row["index"], wave["index"])


def test_all_clips_are_scored_in_order(tmp_path: Path) -> None:
    batches = list(eval_dataset(source(clips(tmp_path), 1), window=WINDOW, batch_size=3))
    assert np.concatenate([batch["index"] for batch in batches]).tolist() == [0, 1, 2, 3, 4, 5, 6, -1, -1]
    assert np.concatenate([batch["wave"][:, 0] for batch in batches])[:7].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert batches[-1]["valid"].tolist() == [True, False, False]


def test_windows_follow_from_the_content_and_the_number(tmp_path: Path) -> None:
    utterances = clips(tmp_path)

    def windows(utterances: list[Utterance], number: int | None, probability: float = 0) -> dict[str, np.ndarray]:
        chain = (NOISE(source="white", probability=probability),)
        version = Version(ClipSource(utterances), contents_of(utterances), WINDOW, number, chain)
        positions = list(range(len(utterances)))
        batches = list(window_batches(version, positions, 3, workers=0))
        assert [len(batch["wave"]) for batch in batches] == [3, 3, 1]
        waves = np.concatenate([batch["wave"] for batch in batches])
        return {version.name(i): waves[i] for i in positions}

    first, second, noisy = windows(utterances, 0), windows(utterances, 1), windows(utterances, 0, probability=1)
    again = windows(utterances[::-1], 0)
    assert set(again) == set(first)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not set(first) & set(second)
    assert any(not np.array_equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))
    assert all(not np.array_equal(first[name], noisy[name]) for name in first)
    plain = windows(utterances, None, probability=1)
    for row, clip in zip(plain.values(), utterances, strict=True):
        wave, _ = soundfile.read(clip.path, dtype="float32")
        np.testing.assert_array_equal(row[: wave.size], wave[:400])
