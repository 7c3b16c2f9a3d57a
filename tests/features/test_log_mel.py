"""Whisper's log-mel spectrogram, compared with that of Hugging Face's extractor and with PyTorch's transform."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.features.log_mel import log_mel, mel_filters
from tests.conftest import extra
from tests.quick_compilation import QUICK

computed = jax.jit(log_mel, static_argnums=1, compiler_options=QUICK)

LENGTHS = (201, 439, 441, 1039)
"""Around the shortest, and where the reflection at the end is needed in full, in part, or not at all."""


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """Two waveforms, one much quieter than the other."""
    return np.random.default_rng(1).normal(0, 0.1, (2, 1100)) * np.array([[1], [1e-4]])


def kept(arrays: Any, stage: str, values: np.ndarray) -> np.ndarray:
    """The part of a stage's output that a golden file holds."""
    assert values.shape == tuple(arrays[f"shape/{stage}"])
    return values[tuple(slice(None, None, int(step)) for step in arrays[f"stride/{stage}"])]


@pytest.mark.reference
def test_golden_spectrograms_and_filters(reference: Path) -> None:
    with np.load(reference / "golden" / "systems" / "WhisperTinyEn.forward.npz") as arrays, jax.enable_x64(True):
        waves = arrays["wave_int16"] / np.float64(32768)
        np.testing.assert_allclose(mel_filters(80), arrays["mel_filters"], rtol=0, atol=1e-15)
        cases = {"log_mel": waves, "even.log_mel": waves[4:, :64_000]}
        cases["padded.log_mel"] = np.pad(waves[4:], ((0, 0), (0, 480_000 - waves.shape[1])))
        for stage, wave in cases.items():
            spectrogram = np.asarray(computed(jnp.asarray(wave))).transpose(0, 2, 1)
            difference = np.abs(kept(arrays, stage, spectrogram) - arrays[f"stage/{stage}"]).max()
            print(f"{stage}: {difference:.1e}")
            assert difference < 1e-12
    # Float32, which the goldens' authors' extractor is 5e-5 off in.
    single = np.asarray(jax.jit(log_mel)(jnp.asarray(waves, jnp.float32))).transpose(0, 2, 1)
    assert single.dtype == np.float32
    with np.load(reference / "golden" / "systems" / "WhisperTinyEn.forward.npz") as arrays:
        assert np.abs(kept(arrays, "log_mel", single) - arrays["stage/log_mel"]).max() < 5e-5


def test_every_length_agrees_with_the_short_time_fourier_transform_of_pytorch(noise: np.ndarray) -> None:
    torch = extra("torch", "torch")
    window = torch.hann_window(400, dtype=torch.float64)
    with jax.enable_x64(True):
        for samples in LENGTHS:
            spectrum = torch.stft(
                torch.from_numpy(noise[:, :samples].copy()), 400, 160, window=window, return_complex=True
            )
            power = mel_filters(128) @ (spectrum[..., :-1].abs() ** 2).numpy()
            levels = np.log10(np.maximum(power, 1e-10))
            expected = (np.maximum(levels, levels.max(axis=(1, 2), keepdims=True) - 8) + 4) / 4
            actual = np.asarray(computed(jnp.asarray(noise[:, :samples]), 128))
            assert actual.shape == (2, samples // 160, 128)
            np.testing.assert_allclose(actual, expected.transpose(0, 2, 1), rtol=0, atol=1e-12)


def test_a_padded_waveform_gives_what_it_gives_alone(noise: np.ndarray) -> None:
    # Silence shows what has been taken for the loudest: it is raised to a certain distance from that.
    noise = np.where(np.arange(1100) < 300, 0, noise)
    with jax.enable_x64(True):
        for lengths in (jnp.asarray(LENGTHS[:2]), jnp.asarray(LENGTHS[:1:-1])):
            # Not zeros: what lies behind the end must not matter, nor raise what counts as loudest.
            waves = np.where(np.arange(1100) < np.asarray(lengths)[:, None], noise, 5.0)
            together = np.asarray(computed(jnp.asarray(waves), 80, lengths))
            for row, length in enumerate(map(int, lengths)):
                alone = np.asarray(computed(jnp.asarray(noise[row : row + 1, :length])))
                np.testing.assert_allclose(together[row, : length // 160], alone[0], rtol=0, atol=1e-12)
                assert not together[row, length // 160 :].any()


def test_silence_and_what_is_too_short() -> None:
    assert np.all(np.asarray(computed(jnp.zeros((1, 400)))) == -1.5)
    with pytest.raises(ValueError, match="201 samples or more, got 200"):
        log_mel(jnp.zeros((1, 200)))


def test_transformations(noise: np.ndarray) -> None:
    """A waveform by itself by vmap, and a derivative that finite differences confirm."""
    with jax.enable_x64(True):
        waves = jnp.asarray(noise[:, :700])
        mapped = jax.jit(jax.vmap(lambda wave: log_mel(wave[None])[0]), compiler_options=QUICK)(waves)
        np.testing.assert_allclose(mapped, computed(waves), rtol=0, atol=1e-14)

        def total(waves: jax.Array) -> jax.Array:
            return jnp.square(log_mel(waves)).sum()

        direction = jnp.asarray(np.random.default_rng(2).normal(0, 1e-7, waves.shape)) * jnp.abs(waves).max(
            1, keepdims=True
        )
        gradient = jax.jit(jax.grad(total), compiler_options=QUICK)
        slope = jnp.vdot(gradient(waves), direction)
        above, below = (jax.jit(total, compiler_options=QUICK)(waves + sign * direction) for sign in (1, -1))
        np.testing.assert_allclose((above - below) / 2, slope, rtol=1e-6)
        assert np.isfinite(np.asarray(gradient(jnp.zeros((2, 700))))).all()
