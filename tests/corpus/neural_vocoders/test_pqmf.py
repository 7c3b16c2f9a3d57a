import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.corpus.neural_vocoders.pqmf import analyse, synthesise


@pytest.mark.parametrize("bands", [4, 8])
def test_what_is_split_comes_back(bands: int) -> None:
    waves = np.random.default_rng(0).standard_normal((2, 4096)).astype(np.float32)
    parts = analyse(jnp.asarray(waves), bands)
    assert parts.shape == (2, 4096 // bands, bands)
    error = np.asarray(synthesise(parts)) - waves
    inside = slice(16 * bands, -16 * bands)
    assert 20 * np.log10(error[:, inside].std() / waves.std()) < -60
    assert 20 * np.log10(error.std() / waves.std()) < -34
    # Of white noise, every band has its share.
    np.testing.assert_allclose(np.var(parts, axis=(0, 1)), 1 / bands, rtol=0.15)


@pytest.mark.parametrize("band", range(4))
def test_a_tone_is_in_its_band(band: int) -> None:
    tone = np.sin(np.pi * (band + 0.5) / 4 * np.arange(4096)).astype(np.float32)
    levels = np.std(np.asarray(analyse(jnp.asarray(tone[None]), 4))[0, 32:-32], axis=0)
    assert levels[band] == pytest.approx(np.sqrt(0.5), rel=0.01)
    assert np.delete(levels, band).max() < 1e-3
