"""Windows: what they hold of a clip, and that they leave nothing out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasist_jax.audio.windows import all_windows, first_window, random_window, window_starts
from aasist_jax.errors import AudioError


@given(size=st.integers(1, 300), length=st.integers(1, 300))
def test_first_window(size: int, length: int) -> None:
    wave = np.arange(size, dtype=np.float32)
    np.testing.assert_array_equal(first_window(wave, length), np.arange(length) % size)


@given(size=st.integers(1, 300), length=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_random_window_is_a_piece_of_the_clip(size: int, length: int, seed: int) -> None:
    wave = np.arange(size, dtype=np.float32)
    window = random_window(wave, length, np.random.default_rng(seed))
    assert window.shape == (length,)
    if size <= length:
        np.testing.assert_array_equal(window, first_window(wave, length))
    else:
        np.testing.assert_array_equal(window, window[0] + np.arange(length))
        assert 0 <= window[0] <= size - length


def test_random_window_draws_every_start_alike() -> None:
    rng = np.random.default_rng(1)
    wave = np.arange(10, dtype=np.float32)
    starts = np.bincount([int(random_window(wave, 7, rng)[0]) for _ in range(4000)])
    assert starts.size == 4  # the last start included, which the official code never draws
    assert starts.min() > 900


@given(size=st.integers(1, 300), length=st.integers(1, 100), part=st.floats(0.01, 1))
def test_all_windows_cover_every_sample(size: int, length: int, part: float) -> None:
    wave = np.arange(size, dtype=np.float32)
    hop = max(1, int(part * length))
    windows = all_windows(wave, length, hop)
    starts = window_starts(size, length, hop)
    assert windows.shape == (len(starts), length)
    assert set(windows.astype(int).ravel()) == set(range(size))
    np.testing.assert_array_equal(windows[:, 0], starts)
    assert windows[-1, -1] == size - 1 or size < length
    np.testing.assert_array_equal(np.diff(starts)[:-1], hop)


def test_windows_follow_each_other_by_default() -> None:
    assert window_starts(10, 4) == [0, 4, 6]
    assert window_starts(8, 4) == [0, 4]
    assert window_starts(4, 4) == [0]
    assert window_starts(3, 4) == [0]
    with pytest.raises(ValueError, match="hop"):
        window_starts(10, 4, 5)


def test_empty_waves_have_no_windows() -> None:
    empty = np.zeros(0, np.float32)
    with pytest.raises(AudioError):
        first_window(empty, 10)
    with pytest.raises(AudioError):
        random_window(empty, 10, np.random.default_rng(0))
    with pytest.raises(AudioError):
        all_windows(empty, 10)
