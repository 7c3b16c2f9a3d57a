"""Distill-MOS with the published weights against the authors' outputs, stage by stage, and by itself."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from aasist_jax.encoders.readers.distill_mos import DistillMOSWeights, read_distill_mos
from aasist_jax.models.ssl.encoders.distill_mos import KIND
from aasist_jax.models.ssl.encoders.distill_mos.config import DistillMOSConfig
from aasist_jax.models.ssl.encoders.distill_mos.network import DistillMOS, DistillMOSEncoder, position_table
from tests.conftest import REFERENCE
from tests.encoder_files import distill_mos_wheel
from tests.quick_compilation import QUICK

pytestmark = pytest.mark.reference

CONFIG = DistillMOSConfig()
TO_TORCH = {4: (0, 3, 1, 2), 3: (0, 1, 2), 2: (0, 1), 1: (0,)}
STAGES = (
    *("spectrum", "cnn.0", "cnn.1", "cnn.2", "cnn.3", "cnn.4", "cnn.5", "flatten", "norm_input", "norm"),
    *(
        "linear_proj",
        "position_encoding",
        *(f"layers.{i}" for i in range(7)),
        "norm_trans",
        "attention",
        "pooled",
        "logit",
        "mos",
    ),
)


@functools.cache
def golden() -> dict[str, np.ndarray]:
    with np.load(REFERENCE / "golden" / "systems" / "DistillMOS.forward.npz") as archive:
        return dict(archive)


def golden_waves() -> np.ndarray:
    return golden()["wave_int16"] / np.float64(32768)


@functools.cache
def weights() -> DistillMOSWeights:
    return read_distill_mos(distill_mos_wheel())


def stages(waves: np.ndarray, lengths: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """All stages in the type of the waves and in PyTorch's layout, wave by wave."""
    rows = [_run(wave[None], None if lengths is None else lengths[i : i + 1]) for i, wave in enumerate(waves)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


@functools.cache
def _forward(dtype: Any) -> Any:
    model = DistillMOS(CONFIG, dtype)
    variables = jax.tree.map(lambda x: x.astype(dtype) if x.dtype.kind == "f" else x, weights().variables)
    forward = jax.jit(functools.partial(model.apply, mutable=["stages"]))
    return functools.partial(forward, variables)


def _run(waves: np.ndarray, lengths: np.ndarray | None) -> dict[str, np.ndarray]:
    with jax.enable_x64(waves.dtype == np.float64), jax.default_matmul_precision("highest"):
        mos, sown = _forward(waves.dtype)(waves, lengths)
    found = {path[-1].removeprefix("after_"): value for path, (value,) in flatten_dict(sown["stages"]).items()}
    found = {name: np.asarray(value).transpose(TO_TORCH[value.ndim]) for name, value in found.items()}
    return found | {"mos": np.asarray(mos)}


def thinned(stage: str, value: np.ndarray) -> np.ndarray:
    """What a golden holds of a stage."""
    arrays = golden()
    if f"stride/{stage}" not in arrays:
        return value
    np.testing.assert_array_equal(value.shape[1:], arrays[f"shape/{stage}"][1:])
    return value[tuple(slice(None, None, step) for step in arrays[f"stride/{stage}"])]


@pytest.mark.parametrize("clips", [[1], pytest.param([0, 1, 2, 3, 4], marks=pytest.mark.slow)])
def test_every_stage_in_float64(clips: list[int]) -> None:
    found = stages(golden_waves()[clips])
    errors = {stage: _error(stage, found[stage], clips) for stage in STAGES}
    print(f"worst of {len(errors)} stages: {max(errors.values()):.1e}")
    # 1.3e-11 is reached, by the chirp, whose empty bins the power of 0.3 makes steep.
    assert max(errors.values()) < 1e-10, errors
    assert {f"stage/{stage}" for stage in STAGES} == {
        name for name in golden() if name.startswith("stage/") and "padded." not in name and "long." not in name
    }
    means = found["layers.6"].mean(axis=1)
    np.testing.assert_allclose(means, golden()["last_hidden_mean"][clips], rtol=0, atol=1e-10)


@pytest.mark.slow
def test_every_stage_of_a_padded_and_of_a_long_recording_in_float64() -> None:
    wave = golden_waves()[4]
    padded = stages(np.pad(wave, (0, 122_880 - wave.size))[None])
    joined = np.concatenate([golden_waves()[i] for i in golden()["long_order"]])[: int(golden()["long_samples"])]
    segments = np.stack([joined[start : start + 122_880] for start in golden()["long_starts"]])
    long = stages(segments)
    for prefix, found, count in (("padded.", padded, len(STAGES)), ("long.", long, 7)):
        names = [stage for stage in STAGES if f"stage/{prefix}{stage}" in golden()]
        assert len(names) == count
        for stage in names:
            assert _error(f"{prefix}{stage}", found[stage], slice(None)) < 1e-10, stage
    np.testing.assert_allclose(long["mos"].mean(), golden()["long_mos"][0], rtol=0, atol=1e-10)


def _error(stage: str, value: np.ndarray, clips: Any) -> float:
    return float(np.abs(thinned(stage, value) - golden()[f"stage/{stage}"][clips]).max())


def test_the_table_of_positions_is_the_files_up_to_its_rounding() -> None:
    """The file's was computed in float32, and is what is used."""
    table = weights().variables["params"]["encoder"]["position_encoding"]["pe"][0]
    assert np.abs(position_table(384, 200) - table).max() < 3e-5
    assert np.abs(position_table(384, 200) - table).max() > 1e-6


TINY = DistillMOSConfig(
    win_length=32,
    hop_length=16,
    channels=(4, 6),
    frequency_strides=(2, 2),
    time_strides=(1, 2),
    d_model=12,
    layers=2,
    heads=3,
    ffn_dim=8,
    max_positions=20,
)


@pytest.mark.parametrize("samples", [16, 47, 480])
def test_filled_up_waves_are_as_by_themselves(samples: int) -> None:
    """Up to the longest that the table of positions has rows for."""
    assert (TINY.shortest, TINY.longest) == (16, 655)
    rng = np.random.default_rng(samples)
    wave = rng.normal(size=(1, samples))
    filled = np.pad(wave, ((0, 0), (0, 655 - samples)))
    with jax.enable_x64(True):
        alone = _tiny()(wave, None)
        waves = np.concatenate([filled, rng.normal(size=(1, 655))])
        together = _tiny()(waves, np.array([samples, 655], np.int32))
    steps = TINY.steps(samples)
    assert len(alone) == TINY.hidden_states == 4
    assert steps == -(-(samples // 16) // 2)
    for one, other in zip(alone, together, strict=True):
        assert one.shape == (1, steps, 12)
        np.testing.assert_allclose(other[:1, :steps], one, rtol=0, atol=1e-12)


@functools.cache
def _tiny() -> Any:
    module = DistillMOSEncoder(TINY, jnp.float64)
    variables = jax.tree.map(lambda x: np.abs(x) + 0.1, made_up(module))
    return functools.partial(jax.jit(module.apply, compiler_options=QUICK), variables)


def made_up(module: DistillMOSEncoder) -> Any:
    """Variables from the normal distribution; integers are 0."""
    wave = jax.ShapeDtypeStruct((1, 16), module.dtype)
    shapes: Any = jax.eval_shape(module.init, jax.random.key(0), wave)
    rng = np.random.default_rng(0)
    kinds = {kind: shapes[kind] for kind in ("params", "batch_stats")}
    return jax.tree.map(lambda x: (rng.normal(size=x.shape) * (x.dtype.kind == "f")).astype(x.dtype), kinds)


@pytest.mark.parametrize("samples", [160, 319, 320, 64_600, 122_880, 123_039])
def test_any_length_gives_a_step_for_every_second_frame(samples: int) -> None:
    module = DistillMOSEncoder(msgspec.structs.replace(CONFIG, layers=1))
    variables = {kind: tree["encoder"] for kind, tree in weights().variables.items()}
    states: Any = jax.eval_shape(module.apply, variables, jax.ShapeDtypeStruct((2, samples), jnp.float32))
    assert [state.shape for state in states] == [(2, -(-(samples // 160) // 2), 200)] * 3
    assert (CONFIG.shortest, CONFIG.longest, CONFIG.steps(123_039)) == (160, 123_039, 384)


def test_gain_has_no_effect_and_silence_is_finite() -> None:
    with jax.enable_x64(True):
        wave = np.random.default_rng(0).normal(size=(1, 480))
        loud, faint, silent = (_tiny()(gain * wave, None)[-1] for gain in (1, 0.1, 0))
    np.testing.assert_allclose(faint, loud, rtol=0, atol=1e-5)
    assert np.isfinite(silent).all()


@pytest.mark.parametrize("frozen", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 3))])
def test_what_is_frozen_gets_no_gradient_and_keeps_its_statistics(frozen: int) -> None:
    """A parameter has a gradient if and only if the first hidden state that it takes part in is not frozen."""
    sizes = {"channels": (4,), "frequency_strides": (2,), "time_strides": (2,)}
    config = msgspec.structs.replace(TINY, layers=1, **sizes)
    module = DistillMOSEncoder(config)
    waves = jnp.asarray(np.random.default_rng(0).normal(size=(2, 200)), jnp.float32)
    variables = made_up(module)
    state = {"batch_stats": jax.tree.map(lambda x: jnp.abs(jnp.asarray(x)), variables["batch_stats"])}

    def loss(params: Any) -> Any:
        states, changed = module.apply(
            {"params": params, **state}, waves, train=True, frozen=frozen, mutable=["batch_stats"]
        )
        return sum(jnp.square(each - 0.3).sum() * (i + 1) for i, each in enumerate(states)), changed

    gradients, changed = jax.jit(jax.grad(loss, has_aux=True), compiler_options=QUICK)(variables["params"])
    for path, gradient in flatten_dict(gradients, sep="/").items():
        block = KIND.block(path)
        is_trained = block is not None and block % config.hidden_states >= frozen
        # A batch norm or the softmax takes no notice of some biases; their gradients are rounding noise or none.
        if not is_trained or path.endswith("kernel"):
            assert bool(np.any(gradient != 0)) == is_trained, path
    counts = {name: int(norm["count"]) for name, norm in changed["batch_stats"].items()}
    assert counts == {"norm_input": frozen < 1, "norm": frozen < 1, "norm_trans": frozen < 3}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"heads": 3}, "heads: expected a divisor of d_model, which is 200, got 3"),
        ({"d_model": 25, "heads": 5}, "d_model: expected an even number"),
        ({"time_strides": (1,)}, "time_strides: expected 6, as many as channels"),
        ({"hop_length": 161}, "hop_length: expected win_length less an even number, got 161"),
        ({"win_length": 100, "hop_length": 50}, "frequency_strides: no bin of the spectrum is left"),
        ({"channels": ()}, "channels: expected at least one convolution"),
    ],
)
def test_sizes_that_do_not_go_together(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        DistillMOSConfig(**fields)
