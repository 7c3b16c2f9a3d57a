import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from aasist_jax.corpus.neural_vocoders.mel import FFT, HOP, mel_filters
from aasist_jax.corpus.neural_vocoders.spectra import frames_of, inverse, log_mel, magnitudes

WAVES = np.random.default_rng(0).standard_normal((2, 16 * HOP)).astype(np.float32)


@pytest.mark.parametrize(("size", "hop"), [(256, 64), (1024, 256)])
def test_magnitudes_are_those_of_scipy(size: int, hop: int) -> None:
    padded = np.pad(WAVES, ((0, 0), ((size - hop) // 2, (size - hop) // 2)), mode="reflect")
    transform = signal.ShortTimeFFT(signal.windows.hann(size, sym=False), hop, fs=16_000)
    # Its slices are centred on multiples of the hop: the first whole one is half a frame in.
    first = size // 2 // hop
    wanted = np.abs(transform.stft(padded, p0=first, p1=first + WAVES.shape[1] // hop))
    np.testing.assert_allclose(magnitudes(jnp.asarray(WAVES), size, hop), wanted.transpose(0, 2, 1), atol=1e-4)


def test_the_log_mel_spectrogram_is_that_of_its_filters() -> None:
    spectrum = np.asarray(magnitudes(jnp.asarray(WAVES), FFT, HOP))
    found = np.asarray(log_mel(jnp.asarray(WAVES)))
    assert found.shape == (2, 16, 80)
    np.testing.assert_allclose(found, np.log(spectrum @ mel_filters(16_000).T), atol=1e-5)
    assert np.all(np.asarray(log_mel(jnp.zeros((1, 512)))) == np.float32(np.log(1e-5)))


def test_a_spectrum_comes_back_as_its_wave() -> None:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
    spectrum = jnp.fft.rfft(frames_of(jnp.asarray(WAVES), FFT, HOP) * jnp.asarray(window, jnp.float32)[None, None])
    np.testing.assert_allclose(inverse(spectrum), WAVES, atol=1e-5)


def test_silence_has_a_gradient() -> None:
    slope = jax.grad(lambda waves: log_mel(waves).sum() + magnitudes(waves, 256, 64).sum())(jnp.zeros((1, 1024)))
    assert np.all(np.isfinite(slope))
