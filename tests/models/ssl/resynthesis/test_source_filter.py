"""The vocoder of source and filter: pitch, noise, pulses and envelope against what is known of made sounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from aasist_jax.models.ssl.resynthesis.source_filter.pitch import BAND_CENTRES, Source, source_of
from aasist_jax.models.ssl.resynthesis.source_filter.vocoder import HOP, envelope_filters, pulse_train, resynthesise

RATE = 16_000
SAMPLES = 8000
TIME = np.arange(SAMPLES) / RATE


def tone(hertz: float, noise: float = 1e-3) -> np.ndarray:
    """All harmonics with phases of their own, and noise so many times as strong."""
    count = int(RATE / 2 / hertz)
    wave = sum(np.cos(2 * np.pi * k * hertz * TIME + k * k) for k in range(1, count + 1)) / np.sqrt(count / 2)
    return (0.1 * (wave + noise * np.random.default_rng(0).normal(size=SAMPLES))).astype(np.float32)


def analysed(wave: np.ndarray) -> Source:
    found = jax.jit(source_of, static_argnums=2)(wave, jnp.array(SAMPLES), SAMPLES // 160 + 2)
    return Source(*(np.asarray(x)[5:45] for x in found))


@pytest.mark.parametrize("hertz", [75.0, 123.4, 217.3, 420.0])
def test_pitch_and_noise_of_a_tone(hertz: float) -> None:
    clean, noisy = analysed(tone(hertz)), analysed(tone(hertz, noise=0.7))
    np.testing.assert_allclose(clean.pitch, hertz, rtol=2e-3)
    assert clean.noise.max() < 0.1
    assert (noisy.pitch > 0).all()
    # A third of the power is noise; the best of several periods is taken, so it seems a little less.
    assert noisy.noise.mean() == pytest.approx(0.28, abs=0.1)


def test_noise_and_what_is_very_faint_have_no_pitch() -> None:
    noise = np.random.default_rng(0).normal(size=SAMPLES).astype(np.float32)
    found = analysed(noise)
    assert (found.pitch > 0).mean() < 0.1
    assert found.noise.shape[1] == len(BAND_CENTRES)
    faint = tone(120.0)
    faint[SAMPLES // 2 :] *= 1e-3
    pitch = analysed(faint).pitch
    assert (pitch[:15] > 0).all()
    assert not (pitch[25:] > 0).any()


def test_pulses_come_at_the_pitch_with_the_power_of_white_noise() -> None:
    pulses = np.asarray(pulse_train(jnp.full(200, 125.0)))
    assert pulses.size == 200 * HOP
    (places,) = np.nonzero(pulses > 0.5 * pulses.max())
    np.testing.assert_array_equal(np.diff(places), 128)
    assert np.square(pulses).mean() == pytest.approx(1, abs=0.05)


def test_the_filters_have_the_envelope_and_not_the_harmonics() -> None:
    """A vowel of one formant at 1 kHz, by its true transfer function."""
    hertz, width = 130.0, 150.0
    radius = np.exp(-np.pi * width / RATE)
    system = [1, -2 * radius * np.cos(2 * np.pi * 1000 / RATE), radius**2]
    pulses = np.asarray(pulse_train(jnp.full(SAMPLES // HOP, hertz)))
    wave = signal.lfilter([1], system, pulses).astype(np.float32)
    filters = np.asarray(jax.jit(envelope_filters)(wave, jnp.full(SAMPLES // HOP, hertz)))[50]
    _, true = signal.freqz([1], system, worN=filters.size, include_nyquist=True)
    decibels = 20 * np.log10(np.abs(filters) / np.abs(true))
    assert np.abs(decibels[5:-5]).max() < 3
    # Minimum phase: all that a pulse gives comes at once and fades.
    response = np.square(np.fft.irfft(filters))
    assert response[:160].sum() > 0.99 * response.sum()


def test_a_copy_keeps_the_pitch_and_the_level() -> None:
    glide = np.concatenate([tone(120.0), tone(180.0)])
    copy = np.asarray(jax.jit(lambda wave: resynthesise(wave, None))(glide[None]))[0]
    for part, hertz in ((copy[:SAMPLES], 120.0), (copy[SAMPLES:], 180.0)):
        np.testing.assert_allclose(analysed(part).pitch, hertz, rtol=5e-3)
        assert np.square(part).mean() == pytest.approx(0.01, rel=0.3)
