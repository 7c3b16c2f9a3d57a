"""The overview of a long recording: bounded, and no peak is lost."""

import numpy as np

from aasist_jax.detection.overview import COLUMNS, FFT, HOP, Overview


def test_the_overview_is_bounded_and_loses_no_peak() -> None:
    rng = np.random.default_rng(0)
    wave = (rng.normal(size=2_000_000) * 0.01).astype(np.float32)
    peaks = [123, 600_000, 1_999_999]
    wave[peaks] = 0.9
    overview, whole = Overview(), Overview()
    whole.push(wave)
    for piece in np.split(wave, np.sort(rng.integers(0, wave.size, 200))):
        overview.push(piece)
    low, high, decibels = overview.columns()
    for one, other in zip((low, high, decibels), whole.columns(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)
    assert COLUMNS <= high.size < 2 * COLUMNS
    assert decibels.shape == (FFT // 2 + 1, high.size)
    assert overview.seconds == wave.size / 16_000
    # Columns of equal length from the start on: every peak is where it belongs.
    width = round(overview.column_seconds * 16_000)
    assert width % HOP == 0
    assert np.flatnonzero(high == np.float32(0.9)).tolist() == [peak // width for peak in peaks]
    np.testing.assert_allclose(low[:-1], wave[: (low.size - 1) * width].reshape(-1, width).min(axis=1))


def test_the_overview_shows_a_tone_at_its_frequency() -> None:
    overview = Overview()
    overview.push(np.sin(2 * np.pi * 2000 * np.arange(16_000) / 16_000).astype(np.float32))
    assert overview.columns()[2][:, 20].argmax() == 2000 * FFT // 16_000
    assert Overview().columns()[0].size == 0
