"""A pretrained encoder in Python: hidden states of waves, in float32 and float64, and what is refused."""

import functools
from typing import Any

import jax
import numpy as np
import pytest

import aasist_jax
from aasist_jax.encoders.encoder import Encoder
from aasist_jax.errors import AudioError
from aasist_jax.models.ssl.encoders import kind_of
from tests.encoder_files import distill_mos_wheel
from tests.models.ssl import tiny
from tests.models.ssl.encoders.test_distill_mos import golden, golden_waves, thinned
from tests.quick_compilation import QUICK

pytestmark = pytest.mark.reference

NAMES = ("position_encoding", *(f"layers.{i}" for i in range(7)), "norm_trans")


@functools.cache
def encoder() -> Encoder:
    return Encoder.from_pretrained(distill_mos_wheel())


def test_hidden_states_in_float32() -> None:
    """Near-empty bins of smooth signals make single values coarse; the root of their mean square is small."""
    assert aasist_jax.Encoder is Encoder
    waves = golden_waves()[3:4].astype(np.float32)
    states = encoder().hidden_states(waves)
    assert len(states) == len(NAMES) == encoder().config.hidden_states
    for name, state in zip(NAMES, states, strict=True):
        assert (state.dtype, state.shape) == (np.float32, (1, 202, 200))
        difference = thinned(name, state) - golden()[f"stage/{name}"][3:4]
        rms = np.sqrt(np.mean(difference**2))
        # 1.3e-6 is reached, and 5e-7 after the first layer.
        assert rms < (1e-5 if name == NAMES[0] else 2e-6), name
    assert encoder().encoder_id == "distill_mos_v7-b18b3ac60227"


def test_float64_where_it_is_enabled() -> None:
    """Of a tiny encoder: the same as by its module, but for rounding."""
    pretrained = tiny.pretrained()
    waves = np.random.default_rng(0).normal(size=(1, 500))
    with jax.enable_x64(True):
        states = Encoder(pretrained).hidden_states(waves)
        module = kind_of(pretrained.config).build(pretrained.config, dtype=np.float64)
        wide = jax.tree.map(lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, pretrained.variables)
        expected: Any = jax.jit(module.apply, compiler_options=QUICK)(wide, waves)
    for one, other in zip(states, expected, strict=True):
        assert one.dtype == np.float64
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_the_published_encoder_in_float64() -> None:
    waves = golden_waves()[4:5]
    with jax.enable_x64(True):
        states = encoder().hidden_states(waves)
    for name, state in zip(NAMES, states, strict=True):
        assert state.dtype == np.float64
        assert np.abs(thinned(name, state) - golden()[f"stage/{name}"][4:5]).max() < 1e-10


def test_a_padded_batch_is_as_each_wave_by_itself() -> None:
    read = tiny.pretrained()
    encoder = Encoder(read)
    rng = np.random.default_rng(0)
    lengths = [1000, 1600]
    waves = [rng.normal(size=length).astype(np.float32) for length in lengths]
    padded = np.stack([np.pad(wave, (0, 1600 - wave.size)) for wave in waves])
    together = encoder.hidden_states(padded, lengths)
    for row, wave in enumerate(waves):
        steps = read.config.steps(wave.size)
        for one, other in zip(encoder.hidden_states(wave[None]), together, strict=True):
            np.testing.assert_allclose(other[row, :steps], one[0], rtol=0, atol=1e-5)


def test_hidden_states_of_no_waves() -> None:
    states = Encoder(tiny.pretrained()).hidden_states(np.zeros((0, 1000), np.float32), np.zeros(0, np.int32))
    assert [state.shape for state in states] == [(0, 8, 12)] * 3


@pytest.mark.parametrize(
    ("waves", "lengths", "complaint"),
    [
        (
            np.zeros((1, 159), np.float32),
            None,
            r"waves: 159 samples; this encoder takes 160 to 123039 \(7.69 s at 16000",
        ),
        (np.zeros((1, 123_040), np.float32), None, "waves: 123040 samples; .* cut longer recordings into pieces"),
        (np.zeros(1000, np.float32), None, r"waves: expected float32 or float64 .*, got float32 \(1000,\)"),
        (np.zeros((1, 1000), np.int16), None, "waves: expected float32 or float64 .*, got int16"),
        (np.full((1, 1000), np.nan, np.float32), None, "waves: NaN or infinite samples"),
        (np.zeros((2, 1000), np.float32), [1000], r"lengths: expected integers of shape \(2,\)"),
        (np.zeros((1, 1000), np.float32), [1001], "lengths: expected 160 to 1000, got"),
        (np.zeros((1, 1000), np.float32), [1.5], "lengths: expected integers"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(waves: Any, lengths: Any, complaint: str) -> None:
    with pytest.raises(AudioError, match=complaint) as told:
        encoder().hidden_states(waves, lengths)
    assert "\n" not in str(told.value)
