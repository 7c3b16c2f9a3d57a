"""Whisper's encoder with real and made-up weights against Hugging Face's outputs, stage by stage, and by itself."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from aasist_jax.encoders.readers import PretrainedEncoder, read_encoder
from aasist_jax.models.ssl.encoders.whisper import KIND
from aasist_jax.models.ssl.encoders.whisper.config import WhisperConfig
from aasist_jax.models.ssl.encoders.whisper.network import gelu, sinusoids
from tests.conftest import REFERENCE, extra
from tests.encoder_files import whisper_tiny_en
from tests.quick_compilation import QUICK

RANDOM = REFERENCE / "weights" / "systems" / "whisper-tiny-random"
TINY = WhisperConfig(num_mel_bins=8, d_model=16, layers=1, heads=2, ffn_dim=24, max_positions=20)
LENGTHS = (201, 2719, 2720, 6559)
"""Samples: the shortest, an even and an odd number of frames, the longest."""

reference = pytest.mark.reference


@functools.cache
def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(REFERENCE / "golden" / "systems" / f"{name}.forward.npz") as archive:
        return dict(archive)


def golden_waves(name: str) -> np.ndarray:
    return golden(name)["wave_int16"] / np.float64(32768)


@functools.cache
def tiny_en() -> PretrainedEncoder:
    """OpenAI's tiny.en."""
    return read_encoder(whisper_tiny_en())


def stages(encoder: PretrainedEncoder, waves: np.ndarray) -> dict[str, np.ndarray]:
    """All stages in the type of the waves and in PyTorch's layout, wave by wave."""
    with jax.enable_x64(waves.dtype == np.float64), jax.default_matmul_precision("highest"):
        variables = jax.tree.map(lambda x: x.astype(waves.dtype), encoder.variables)
        rows = [_forward(encoder.config, waves.dtype)(variables, wave[None])[1]["stages"] for wave in waves]
    joined = jax.tree.map(lambda *values: np.concatenate(values), *rows)
    found = {path[-1].removeprefix("after_"): value for path, (value,) in flatten_dict(joined).items()}
    return {
        name: value.transpose(0, 2, 1) if name in ("log_mel", "conv1", "conv2") else value
        for name, value in found.items()
    }


@functools.cache
def _forward(config: WhisperConfig, dtype: Any) -> Any:
    # What is narrow runs in no time however it is compiled; its float32 is compared with measured tolerances.
    options = QUICK if config.d_model <= 64 and dtype == np.float64 else None
    return jax.jit(
        functools.partial(KIND.build(config, dtype=dtype).apply, mutable=["stages"]), compiler_options=options
    )


def errors(name: str, prefix: str, found: dict[str, np.ndarray], clips: list[int]) -> dict[str, float]:
    """The greatest error of every stage that the golden holds under a prefix."""
    arrays, differences = golden(name), {}
    for stage in found:
        key = prefix + stage
        if f"stage/{key}" not in arrays:
            continue
        assert found[stage].shape[1:] == tuple(arrays[f"shape/{key}"][1:])
        kept = found[stage][tuple(slice(None, None, int(step)) for step in arrays[f"stride/{key}"])]
        differences[key] = float(np.abs(kept - arrays[f"stage/{key}"][clips]).max())
    print(f"{name} {prefix or 'plain'}: worst of {len(differences)} stages {max(differences.values()):.1e}")
    return differences


@reference
@pytest.mark.parametrize(
    ("file", "prefix", "samples", "count"),
    [("ct2-float16", "", 64_600, 7), ("ct2-int8", "int8.", 64_600, 4), ("ct2-float16", "padded.", 96_000, 2)],
)
def test_every_stage_of_the_made_up_encoder_in_float64(file: str, prefix: str, samples: int, count: int) -> None:
    waves = golden_waves("WhisperRandom")
    found = stages(read_encoder(RANDOM / file), np.pad(waves, ((0, 0), (0, samples - waves.shape[1]))))
    differences = errors("WhisperRandom", prefix, found, [0, 1])
    assert len(differences) == count
    # 1e-13 is reached; the rest is room for other processors' order of summation.
    assert max(differences.values()) < 1e-12, differences


@reference
@pytest.mark.parametrize("clips", [[1], pytest.param([0, 1, 2, 3, 4], marks=pytest.mark.slow)])
def test_every_stage_of_tiny_en_in_float64(clips: list[int]) -> None:
    found = stages(tiny_en(), golden_waves("WhisperTinyEn")[clips])
    differences = errors("WhisperTinyEn", "", found, clips)
    assert len(differences) == 9
    assert max(differences.values()) < 1e-12, differences
    mean = golden("WhisperTinyEn")["last_hidden_mean"][clips]
    np.testing.assert_allclose(found["layer_norm"].mean(axis=1), mean, rtol=0, atol=1e-12)


@reference
@pytest.mark.parametrize(
    ("prefix", "samples", "count"), [("even.", 64_000, 3), pytest.param("padded.", 480_000, 9, marks=pytest.mark.slow)]
)
def test_other_lengths_of_tiny_en_in_float64(prefix: str, samples: int, count: int) -> None:
    wave = golden_waves("WhisperTinyEn")[4:]
    found = stages(tiny_en(), np.pad(wave, ((0, 0), (0, 480_000)))[:, :samples])
    differences = errors("WhisperTinyEn", prefix, found, [0])
    assert len(differences) == count
    assert max(differences.values()) < 1e-12, differences


@reference
def test_float32() -> None:
    """Within what Hugging Face's own float32 is off: 3e-4 after the last norm, from float32 spectrograms."""
    found = stages(read_encoder(RANDOM / "openai.pt"), golden_waves("WhisperRandom").astype(np.float32))
    assert found["layer_norm"].dtype == np.float32
    assert max(errors("WhisperRandom", "", found, [0, 1]).values()) < 3e-4


@reference
def test_tiny_en_in_float32() -> None:
    found = stages(tiny_en(), golden_waves("WhisperTinyEn")[[1]].astype(np.float32))
    differences = errors("WhisperTinyEn", "", found, [1])
    assert differences.pop("layers.3") < 1e-3
    assert max(differences.values()) < 3e-4, differences


@functools.cache
def made_up() -> Any:
    """Variables of the small configuration, larger than those that training begins with."""
    wave = jax.ShapeDtypeStruct((1, TINY.shortest), jnp.float32)
    shapes: Any = jax.eval_shape(KIND.build(TINY).init, jax.random.key(0), wave)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.4, x.shape).astype(x.dtype), shapes)


def test_a_wave_among_longer_ones_gives_what_it_gives_alone() -> None:
    waves = np.random.default_rng(1).normal(0, 0.1, (len(LENGTHS), TINY.longest))
    waves = np.where(np.arange(TINY.longest) < np.array(LENGTHS)[:, None], waves, 0)
    with jax.enable_x64(True):
        module = KIND.build(TINY, dtype=jnp.float64)
        forward = jax.jit(module.apply, compiler_options=QUICK)
        together = forward(made_up(), waves, jnp.asarray(LENGTHS))
        assert len(together) == TINY.hidden_states
        assert KIND.any_length
        for row, samples in enumerate(LENGTHS):
            alone = forward(made_up(), waves[row : row + 1, :samples])
            for state, expected in zip(together, alone, strict=True):
                assert expected.shape == (1, TINY.steps(samples), TINY.width)
                np.testing.assert_allclose(state[row, : TINY.steps(samples)], expected[0], rtol=0, atol=1e-12)


def test_lowering_for_cuda_with_a_batch_of_any_size() -> None:
    """From a CPU: all heads at once there, in a program for whatever number of waves."""
    (batch,) = jax.export.symbolic_shape("batch")
    waves = jax.ShapeDtypeStruct((batch, 1000), jnp.float32)
    lengths = jax.ShapeDtypeStruct((batch,), jnp.int32)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), made_up())
    for platform, loops in (("cuda", 0), ("cpu", TINY.layers)):
        exported = jax.export.export(jax.jit(KIND.build(TINY).apply), platforms=[platform])(shapes, waves, lengths)
        assert exported.mlir_module().count("stablehlo.while") == loops


def test_the_number_of_samples_has_bounds() -> None:
    assert (TINY.shortest, TINY.longest, TINY.steps(TINY.longest)) == (201, 6559, 20)
    assert [TINY.steps(samples) for samples in (201, 319, 320, 479, 480)] == [1, 1, 1, 1, 2]
    assert WhisperConfig().longest == 480_159
    assert WhisperConfig().steps(64_600) == 202
    for samples in (200, 6560):
        with pytest.raises(ValueError, match=f"expected 201 to 6559 samples, got {samples}"):
            KIND.build(TINY).apply(made_up(), jnp.zeros((1, samples)))


@pytest.mark.parametrize("frozen", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 2, 3))])
def test_what_is_frozen_gets_no_gradient(frozen: int) -> None:
    module = KIND.build(TINY)
    waves = jnp.asarray(np.random.default_rng(2).normal(0, 0.1, (1, 1000)), jnp.float32)

    def total(params: Any) -> Any:
        states: Any = module.apply({"params": params}, waves, frozen=frozen, train=True)
        return sum(jnp.sin(state * (1 + index)).sum() for index, state in enumerate(states))

    gradients = jax.jit(jax.grad(total), compiler_options=QUICK)(made_up()["params"])
    for path, gradient in flatten_dict(gradients, sep="/").items():
        block = KIND.block(path)
        trained = block is not None and block % TINY.hidden_states >= frozen
        assert bool(np.any(gradient)) == trained, path


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"d_model": 15}, "d_model: expected an even number"),
        ({"heads": 5}, "heads: expected a divisor"),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        WhisperConfig(**sizes)


@reference
def test_positions_of_a_file_without_a_table() -> None:
    """The made table is the published one but for its rounding to float16."""
    for encoder in (read_encoder(RANDOM / "ct2-float32"), tiny_en()):
        table = encoder.variables["params"]["embed_positions"]["embedding"]
        np.testing.assert_allclose(sinusoids(*table.shape), table, rtol=0, atol=2.5e-4)


def test_gelu_is_the_exact_one() -> None:
    torch = extra("torch", "torch")
    x = np.linspace(-8, 8, 1001)
    with jax.enable_x64(True):
        expected = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(gelu(jnp.asarray(x)), expected, rtol=0, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [TINY, WhisperConfig(num_mel_bins=128, d_model=96, layers=3, heads=6, ffn_dim=100)])
def test_hugging_faces_network_at_other_sizes(sizes: WhisperConfig) -> None:
    """Needs `pip install transformers`, which is too large to be installed for the tests alone."""
    torch = extra("torch", "torch")
    transformers = pytest.importorskip("transformers", reason="the package `transformers` is not installed")
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    theirs = WhisperEncoder(
        transformers.WhisperConfig(
            num_mel_bins=sizes.num_mel_bins,
            d_model=sizes.d_model,
            encoder_layers=sizes.layers,
            encoder_attention_heads=sizes.heads,
            encoder_ffn_dim=sizes.ffn_dim,
            max_source_positions=sizes.max_positions,
        )
    )
    theirs = theirs.double().eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    from aasist_jax.encoders.whisper_tensors import PREFIX, whisper_encoder
    from aasist_jax.weights.folder import Source

    tensors = {PREFIX + name: value.numpy() for name, value in theirs.state_dict().items()}
    ours = whisper_encoder(tensors, sizes.heads, "made up", Source("made up", ""))
    assert ours.config == sizes
    waves = np.random.default_rng(3).normal(0, 0.1, (2, sizes.max_positions * 320))
    found = stages(ours, waves)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(found["log_mel"]), output_hidden_states=True)
    names = ["embed_positions", *(f"layers.{layer}" for layer in range(sizes.layers))]
    # Their last hidden state has the last norm.
    for name, state in zip([*names[:-1], "layer_norm"], expected.hidden_states, strict=True):
        np.testing.assert_allclose(found[name], state.numpy(), rtol=0, atol=1e-11)
