"""What every kind of resynthesis promises, by each on speech that is made by code."""

import functools
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.errors import ConfigError
from aasist_jax.models.ssl import resynthesis
from aasist_jax.models.ssl.resynthesis import resynthesis_kinds
from tests.conftest import REPOSITORY, extra
from tests.made_speech import made_speech

extra("pyworld", "world")

KINDS = sorted(resynthesis_kinds())
SAMPLES = 8000


@functools.cache
def copies_by(kind: str) -> Any:
    found = resynthesis_kinds()[kind]
    return jax.jit(found.build(found.config_type()))


@functools.cache
def speech() -> np.ndarray:
    return np.stack([made_speech(SAMPLES / 16_000, seed=seed) for seed in range(2)])


def log_spectrum(wave: np.ndarray) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(wave, 400)[::160] * np.hanning(400)
    bands = np.square(np.abs(np.fft.rfft(frames)))[:, :200].reshape(-1, 20, 10).sum(axis=2)
    return np.log(bands + 1e-3)


def test_the_kinds() -> None:
    assert KINDS == ["griffin_lim", "source_filter", "world"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_sounds_like_its_source_and_is_not_it(kind: str) -> None:
    waves = speech()
    copies = np.asarray(copies_by(kind)(waves, None))
    assert (copies.shape, copies.dtype) == (waves.shape, np.float32)
    np.testing.assert_array_equal(copies_by(kind)(waves, None), copies)
    for wave, copy in zip(waves, copies, strict=True):
        assert np.corrcoef(log_spectrum(wave).ravel(), log_spectrum(copy).ravel())[0, 1] > 0.9
        assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(wave**2)), rel=0.3)
        assert abs(np.corrcoef(copy, wave)[0, 1]) < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_that_of_the_wave_by_itself(kind: str) -> None:
    """Whatever its neighbours are and whatever lies behind its end, where the copy is silent."""
    waves, ends = speech().copy(), np.array([5003, SAMPLES], np.int32)
    together = np.asarray(copies_by(kind)(waves, ends))
    alone = np.asarray(copies_by(kind)(waves[:1, : ends[0]], None))
    np.testing.assert_allclose(together[:1, : ends[0]], alone, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(together[0, ends[0] :], 0)
    np.testing.assert_allclose(together[1:], copies_by(kind)(waves, None)[1:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_types(kind: str) -> None:
    """Float64 is computed as such; its copy is that of float32 but for rounding, by which a frame may become voiced."""
    single = np.asarray(copies_by(kind)(speech(), None))
    with jax.enable_x64(True):
        double = np.asarray(copies_by(kind)(speech().astype(np.float64), None))
    assert double.dtype == np.float64
    for one, other in zip(single, double, strict=True):
        assert np.corrcoef(one, other)[0, 1] > (0.99 if kind == "source_filter" else 0.999)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 32, 1000])
def test_silence_and_few_samples_are_finite(kind: str, samples: int) -> None:
    waves = np.zeros((2, samples), np.float32)
    waves[1] = np.random.default_rng(0).normal(size=samples)
    copies = np.asarray(copies_by(kind)(waves, None))
    assert np.isfinite(copies).all()
    assert np.abs(copies[0]).max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_goes_through_a_copy(kind: str) -> None:
    found = resynthesis_kinds()[kind]
    resynthesise = found.build(found.config_type())
    slope = jax.grad(lambda gain: jnp.square(resynthesise(gain * speech()[:1, :2000], None)).sum())
    assert jax.jit(slope)(1.0) == 0


ON_ONE_CORE = """
import os
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
import jax, numpy
from aasist_jax.models.ssl.resynthesis.world import RESYNTHESIS, WorldConfig
waves = numpy.random.default_rng(0).normal(size=(2, 70_000)).astype(numpy.float32)
print(jax.jit(RESYNTHESIS.build(WorldConfig()))(waves, None).shape)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can be chosen on Linux only")
def test_world_does_not_wait_for_ever_on_one_core() -> None:
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    command = [sys.executable, "-c", ON_ONE_CORE]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "(2, 70000)\n", done.stderr


def test_a_kind_that_sets_nothing_is_told(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "__init__.py").write_text("")
    monkeypatch.setattr(resynthesis, "__path__", [*resynthesis.__path__, str(tmp_path)])
    with pytest.raises(ConfigError, match=r"^resynthesis/empty/__init__.py: sets no RESYNTHESIS = "):
        resynthesis_kinds.__wrapped__()
