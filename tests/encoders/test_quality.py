"""The published rule for a recording's quality: its segments, however it comes in blocks, and their mean."""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from aasist_jax.encoders.quality import SEGMENT, QualityPredictor, cut_segments, segment_starts
from aasist_jax.errors import AudioError
from tests.encoder_files import distill_mos_wheel
from tests.models.ssl.encoders.test_distill_mos import golden, golden_waves


@functools.cache
def predictor() -> QualityPredictor:
    return QualityPredictor.from_pretrained(distill_mos_wheel())


@pytest.mark.reference
def test_a_short_recording() -> None:
    """In float32; the authors' package is as far from float64."""
    wave = golden_waves()[4].astype(np.float32)
    found = predictor().predict(lambda: np.array_split(wave, 7))
    assert found.mos == pytest.approx(golden()["padded_mos"][4], abs=1e-5)
    assert (found.seconds, found.starts, found.segments) == (wave.size / 16_000, (0.0,), (found.mos,))


@pytest.mark.slow
@pytest.mark.reference
def test_all_recordings_silence_and_a_long_one() -> None:
    silence = predictor().predict(lambda: [np.zeros(1000, np.float32)])
    assert silence.mos == pytest.approx(golden()["silence_mos"][0], abs=1e-5)
    waves = golden_waves().astype(np.float32)
    found = [predictor().predict(lambda wave=wave: [wave]).mos for wave in waves]
    np.testing.assert_allclose(found, golden()["padded_mos"], rtol=0, atol=5e-5)
    joined = np.concatenate([waves[i] for i in golden()["long_order"]])[: int(golden()["long_samples"])]
    long = predictor().predict(lambda: np.array_split(joined, 23))
    assert long.mos == pytest.approx(golden()["long_mos"][0], abs=5e-5)
    np.testing.assert_allclose(long.segments, golden()["stage/long.mos"], rtol=0, atol=1e-4)


@pytest.mark.reference
def test_segments_start_where_the_published_rule_has_them() -> None:
    assert segment_starts(int(golden()["long_samples"])) == golden()["long_starts"].tolist()
    assert segment_starts(1) == segment_starts(SEGMENT) == [0]
    assert segment_starts(SEGMENT + 1) == [0, 1]
    assert segment_starts(SEGMENT + 16_000) == [0, 16_000]
    assert segment_starts(SEGMENT + 16_001) == [0, 8_000, 16_001]
    assert segment_starts(SEGMENT + 96_005)[5] == 68_574


@pytest.mark.parametrize("samples", [1, SEGMENT - 1, SEGMENT, SEGMENT + 1, SEGMENT + 40_000, 3 * SEGMENT])
@pytest.mark.parametrize("seed", [0, 1])
def test_segments_do_not_depend_on_the_blocks(samples: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wave = np.arange(samples, dtype=np.float32)
    starts = segment_starts(samples)
    blocks = np.split(wave, np.sort(rng.integers(0, samples + 1, 30)))
    found = list(cut_segments(iter(blocks), starts))
    filled = np.pad(wave, (0, max(0, SEGMENT - samples)))
    assert len(found) == len(starts)
    for start, segment in zip(starts, found, strict=True):
        np.testing.assert_array_equal(segment, filled[start : start + SEGMENT])


@pytest.mark.parametrize(
    ("first", "second", "scored"),
    [
        (SEGMENT + 50_000, SEGMENT + 10, 1),
        (SEGMENT + 10, SEGMENT + 50_000, 2),
        (SEGMENT - 1, SEGMENT - 2, 1),
        (10, 0, 0),
    ],
)
def test_a_recording_that_changes_between_its_readings(first: int, second: int, scored: int) -> None:
    lengths = iter((first, second))
    watched: list[int] = []

    def blocks() -> Iterable[np.ndarray]:
        return [np.zeros(next(lengths), np.float32)]

    one: Any = QualityPredictor.__new__(QualityPredictor)
    one._rows, one._predict = 1, lambda waves: np.full(len(waves), 3.0)
    with pytest.raises(AudioError, match=f"changed while it was read, from {first} to {second} samples"):
        one.predict(blocks, lambda done, total: watched.append(done))
    assert watched == list(range(1, scored + 1))
    with pytest.raises(AudioError, match="holds no samples"):
        one.predict(list)
