"""RawBoost against the published functions, with the draws that they took."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import signal

from aasist_jax.augmentation.rawboost import RawBoost, band_stop, convolutive, impulsive, stationary
from tests.augmentation.waves import SPEECH

WAVE = SPEECH.astype(np.float64)
NOISES = {"lnl": convolutive, "isd": impulsive, "ssi": stationary}


class Replay(np.random.Generator):
    """Gives the draws of a golden in their order, and checks that they were asked for."""

    def __init__(self, golden: Any, name: str) -> None:
        super().__init__(np.random.PCG64(0))
        self.golden, self.name = golden, name
        self.numbers = list(golden[f"{name}/uniform"])
        self.arrays = sorted(key for key in golden.files if key.startswith(name) and key[-1].isdigit())

    def uniform(self, low: float, high: float) -> float:
        number = self.numbers.pop(0)
        assert low <= number <= high
        return number

    def _array(self, draw: str, size: int) -> np.ndarray:
        key = next(key for key in self.arrays if key.startswith(f"{self.name}/{draw}"))
        self.arrays.remove(key)
        assert self.golden[key].size == size
        return self.golden[key]

    def permutation(self, size: int) -> np.ndarray:
        return self._array("permutation", size)

    def random(self, size: int) -> np.ndarray:
        return self._array("rand", size)

    def standard_normal(self, size: int) -> np.ndarray:
        return self._array("normal", size)


@pytest.mark.reference
@pytest.mark.parametrize("name", NOISES)
def test_golden(reference: Path, name: str) -> None:
    with np.load(reference / "golden" / "systems" / "RawBoost.npz") as golden:
        draws = Replay(golden, name)
        heard = NOISES[name](golden["wave"], RawBoost(), draws).wave
        np.testing.assert_allclose(heard, golden[f"{name}/output"], atol=1e-12)
        assert not draws.numbers
        assert not draws.arrays


@pytest.mark.reference
def test_the_defaults_are_those_published(reference: Path) -> None:
    with np.load(reference / "golden" / "systems" / "RawBoost.npz") as golden:
        published = json.loads(str(golden["hyper_json"]))
    ours = RawBoost()
    for key, pair in {
        "F": ours.centre,
        "BW": ours.width,
        "Coeff": ours.taps,
        "G": ours.gain,
        "BiasLinNonLin": ours.attenuation,
    }.items():
        assert (published[f"min{key}"], published[f"max{key}"]) == pair
    assert (published["SNRmin"], published["SNRmax"]) == ours.snr
    assert (0, published["P"]) == ours.impulses
    assert (published["nBands"], published["N_f"], published["g_sd"]) == (ours.notches, ours.powers, ours.impulse_gain)


@pytest.mark.parametrize("algorithm", range(1, 9))
def test_algorithms_combine_the_noises(algorithm: int) -> None:
    settings, rng = RawBoost(algorithm=algorithm), np.random.default_rng(5)
    noises = {1: "l", 2: "i", 3: "s", 4: "lis", 5: "li", 6: "ls", 7: "is", 8: "li"}[algorithm]
    functions = {"l": convolutive, "i": impulsive, "s": stationary}
    if algorithm == 8:
        expected = sum(functions[letter](WAVE, settings, rng).wave for letter in noises)
        expected = expected / max(1.0, np.abs(expected).max())
    else:
        expected = WAVE
        for letter in noises:
            expected = functions[letter](expected, settings, rng).wave
    heard = settings.change(WAVE, np.random.default_rng(5), ()).wave
    np.testing.assert_array_equal(heard, expected)


@pytest.mark.parametrize("algorithm", range(1, 9))
def test_what_was_drawn_is_told(algorithm: int) -> None:
    settings = RawBoost(
        algorithm=algorithm, gain=(3.0, 3.0), attenuation=(7.0, 7.0), powers=3, impulses=(2.0, 2.0), snr=(15.0, 15.0)
    )
    noises = {1: "l", 2: "i", 3: "s", 4: "lis", 5: "li", 6: "ls", 7: "is", 8: "li"}[algorithm]
    told = {"l": ("power_gains_db", "+3 -4 -4"), "i": ("impulses_percent", 2.0), "s": ("snr_db", 15.0)}
    drawn = settings.change(WAVE[:2000], np.random.default_rng(0), ()).drawn
    assert drawn == {"algorithm": algorithm, **dict(told[letter] for letter in noises)}


@pytest.mark.parametrize(("low", "high", "taps"), [(1e-3, 300.0, 11), (1000.0, 1900.0, 101), (7900.0, 7999.999, 55)])
def test_band_stop_is_that_of_scipy(low: float, high: float, taps: int) -> None:
    expected = signal.firwin(taps, [low, high], window="hamming", fs=16_000)
    np.testing.assert_allclose(band_stop(low, high, taps), expected, atol=1e-12)


def test_the_stationary_noise_has_its_snr() -> None:
    settings = RawBoost(snr=(17.0, 17.0))
    noise = stationary(WAVE, settings, np.random.default_rng(0)).wave - WAVE
    assert 10 * np.log10(np.sum(WAVE**2) / np.sum(noise**2)) == pytest.approx(17.0, abs=1e-6)


def test_impulses_change_a_share_of_the_samples() -> None:
    changed = impulsive(WAVE, RawBoost(impulses=(4.0, 4.0)), np.random.default_rng(0)).wave
    assert np.count_nonzero(changed != WAVE) / WAVE.size == pytest.approx(0.04, abs=0.001)
    assert np.abs(changed - WAVE).max() <= 2 * np.abs(WAVE).max()


@pytest.mark.parametrize("samples", [1, 1000, 5000])
def test_convolution_is_aligned_as_published(samples: int) -> None:
    """By blocks of any number, and with filters longer than the wave."""
    settings = RawBoost(powers=1, notches=2, taps=(301, 301))
    rng = np.random.default_rng(1)
    heard = convolutive(WAVE[:samples], settings, rng).wave
    rng, taps = np.random.default_rng(1), np.ones(1)
    for _ in range(2):
        centre, width, count = rng.uniform(20, 8000), rng.uniform(100, 1000), int(rng.uniform(301, 301))
        edges = max(centre - width / 2, 1e-3), min(centre + width / 2, 8000 - 1e-3)
        taps = np.convolve(signal.firwin(count, edges, fs=16_000), taps)
    taps = taps / np.abs(signal.freqz(taps, fs=16_000)[1]).max()
    padded = np.pad(WAVE[:samples], (0, taps.size + 1))
    expected = signal.lfilter(taps, 1, padded)[(taps.size + 1) // 2 :][:samples]
    np.testing.assert_allclose(heard, expected - expected.mean(), atol=1e-12)
