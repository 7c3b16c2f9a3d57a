"""Griffin-Lim: the magnitudes that it aims at, and how near it comes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.features.log_mel import mel_filters
from aasist_jax.models.ssl.resynthesis.griffin_lim.vocoder import _inverse, _transform, mel_magnitude, resynthesise
from tests.made_speech import made_speech


@functools.cache
def speech() -> np.ndarray:
    return made_speech(0.5)


def test_the_inverse_undoes_the_transform() -> None:
    for samples in (1, 255, 256, 257, 4000):
        wave = jnp.asarray(speech()[:samples])
        back = _inverse(_transform(wave), jnp.ones(samples, bool))
        np.testing.assert_allclose(back, wave, rtol=0, atol=1e-6)


def test_the_magnitude_has_the_same_mel_bands_where_it_is_positive() -> None:
    with jax.enable_x64(True):
        spectrum = _transform(jnp.asarray(speech(), jnp.float64))
        magnitude = np.asarray(mel_magnitude(spectrum))
    assert (magnitude >= 0).all()
    mel = mel_filters(80, 1024)
    wanted, found = np.abs(spectrum) @ mel.T, magnitude @ mel.T
    assert np.corrcoef(wanted.ravel(), found.ravel())[0, 1] > 0.998


def test_more_iterations_come_nearer() -> None:
    wanted = np.asarray(mel_magnitude(_transform(jnp.asarray(speech()))))

    def distance(iterations: int) -> float:
        copy = jax.jit(functools.partial(resynthesise, lengths=None, iterations=iterations))(speech()[None])[0]
        return float(np.linalg.norm(np.abs(_transform(copy)) - wanted) / np.linalg.norm(wanted))

    first, later, last = distance(1), distance(4), distance(16)
    assert first > later > last
    assert last == pytest.approx(0.15, abs=0.1)
