"""The family SSL through everything: configured, trained on a frozen encoder, converted, scored and exported."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from flax.traverse_util import flatten_dict

from aasist_jax.config import OptimConfig, load_config, parse_model_config, to_json
from aasist_jax.detection.detector import Detector
from aasist_jax.errors import ConfigError
from aasist_jax.models.network import RandomKeys, build_network
from aasist_jax.models.ssl.encoders import kind_of
from aasist_jax.models.ssl.heads import head_kinds, head_of
from aasist_jax.models.ssl.pooling import FactorisedAttentivePooling, StatisticsHead, mean_and_deviation
from aasist_jax.models.ssl.resynthesis import world
from aasist_jax.models.ssl.resynthesis.griffin_lim import vocoder as griffin_lim
from aasist_jax.models.ssl.steps import before
from aasist_jax.training import run_setup
from aasist_jax.training.loss import cross_entropy
from aasist_jax.training.optimizer import make_optimizer, never_trained
from aasist_jax.training.step import init_state, make_train_step
from aasist_jax.weights.folder import Source, load_weights, save_weights
from tests.conftest import Command, extra
from tests.models.ssl import tiny
from tests.models.ssl.tiny import configuration

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def test_a_head_is_trained_on_a_frozen_encoder(clips: Path, tmp_path: Path, command: Command, tiny_file: Path) -> None:
    config = configuration(clips, tmp_path, tiny_file)
    code, _, said = command("train", "--config", config, "--output", tmp_path / "run")
    assert code == 0, said
    weights = load_weights(tmp_path / "run" / "weights")
    # Frozen is frozen: parameters and batch statistics are those of the file, to the bit.
    for kind, tree in tiny.pretrained().variables.items():
        for path, value in flatten_dict(tree, sep="/").items():
            np.testing.assert_array_equal(flatten_dict(weights.variables[kind]["encoder"], sep="/")[path], value)
    assert int(weights.model_state["batch_stats"]["head"]["norm"]["count"]) > 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["eval"]["eer"] == 0

    folder = tmp_path / "run" / "weights"
    assert command("convert", folder, "--to-torch", tmp_path / "tiny.pth")[0] == 0
    assert command("convert", tmp_path / "tiny.pth", "--config", config, "--output", tmp_path / "back")[0] == 0
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    code, out, _ = command("score", clips.parent / "eval0.wav", "--weights", folder, "--published", "--format", "jsonl")
    wave, _ = soundfile.read(clips.parent / "eval0.wav", dtype="float32")
    expected = Detector.from_pretrained(folder).logits(wave[None, :4000])[0, 1]
    assert (code, json.loads(out)["score"]) == (0, pytest.approx(expected, abs=2e-5))
    assert command("export", folder, "--format", "stablehlo", "--output", tmp_path / "tiny.zip")[0] == 0


def made_up(config: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """Variables of a network, all positive."""
    shapes = jax.eval_shape(build_network(config).init, jax.random.key(0))
    return jax.tree.map(lambda x: np.abs(rng.normal(scale=0.3, size=x.shape)).astype(x.dtype), shapes)


MHFA = {"kind": "mhfa", "heads": 2, "compression": 4}


def test_one_step_leaves_the_first_blocks_as_they_are() -> None:
    """With no block frozen but what is before them; the head is the other one."""
    config = parse_model_config(tiny.MODEL_CONFIG | {"freeze": 0, "head": MHFA}, "x")
    network = build_network(config)
    rng = np.random.default_rng(0)
    head = made_up(config, rng)[0]["head"]
    before = jax.tree.map(jnp.asarray, tiny.pretrained().variables)
    variables = {"params": {"encoder": before["params"], "head": head}}
    variables["batch_stats"] = {"encoder": before["batch_stats"]}
    optimizer = make_optimizer(OptimConfig(base_lr=0.02), 10, variables["params"], never_trained(config))
    step = make_train_step(network, optimizer, loss=cross_entropy(1))
    batch = {"wave": jnp.asarray(rng.normal(size=(2, 2000)), jnp.float32), "label": jnp.array([0, 1])}
    after, _ = jax.jit(lambda variables, batch: step(init_state(variables, optimizer), batch))(variables, batch)
    assert_the_first_blocks_stay(after.variables)


@pytest.mark.slow
def test_the_first_blocks_stay_and_the_others_are_trained(
    clips: Path, tmp_path: Path, command: Command, tiny_file: Path
) -> None:
    """The same from the command on."""
    config = configuration(clips, tmp_path, tiny_file, freeze=0, head=MHFA)
    code, _, said = command("train", "--config", config, "--output", tmp_path / "run")
    assert code == 0, said
    assert_the_first_blocks_stay(load_weights(tmp_path / "run" / "weights").variables)


def assert_the_first_blocks_stay(trained: Any) -> None:
    before = tiny.pretrained().variables
    changed = {
        path.partition("/")[0]
        for path, value in flatten_dict(before["params"], sep="/").items()
        if np.any(flatten_dict(trained["params"]["encoder"], sep="/")[path] != value)
    }
    assert changed == {"layers_0", "norm_trans"}
    counts = {
        name: norm["count"] - before["batch_stats"][name]["count"]
        for name, norm in trained["batch_stats"]["encoder"].items()
    }
    assert counts["norm_input"] == counts["norm"] == 0
    assert counts["norm_trans"] > 0


def test_an_encoder_in_float64_is_trained_in_float32(
    clips: Path, tmp_path: Path, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that were quantised are read in float64."""
    read = tiny.pretrained()
    widened = jax.tree.map(lambda leaf: leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf, read.variables)
    monkeypatch.setattr(tiny, "pretrained", lambda: replace(read, variables=widened))
    variables, _ = run_setup._first_variables(load_config(configuration(clips, tmp_path, tiny_file)))
    for kind, tree in read.variables.items():
        found = variables[kind]["encoder"]
        jax.tree.map(partial(np.testing.assert_array_equal, strict=True), found, tree)


def test_an_encoder_of_other_sizes_is_refused(clips: Path, tmp_path: Path, command: Command, tiny_file: Path) -> None:
    config = configuration(clips, tmp_path, tiny_file, encoder=tiny.ENCODER | {"ffn_dim": 9})
    code, _, said = command("train", "--config", config, "--output", tmp_path / "run")
    assert code == 1
    assert said.endswith("its encoder differs from the configuration's: ffn_dim: was 8, is 9\n")


def test_the_shipped_configuration_starts_from_the_published_encoder() -> None:
    config = load_config("SSL_DistillMOS")
    assert config.train_config.init == "distill_mos"
    assert config.model_config.frozen_states == config.model_config.encoder.hidden_states == 9
    assert parse_model_config(to_json(config)["model_config"], "again") == config.model_config


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"encoder": {"kind": "x"}}, "x: model_config.encoder.kind: expected .*'distill_mos'.*, got \"x\""),
        (
            {"encoder": {"kind": "distill_mos", "heads": 7}},
            "x: model_config.encoder.heads: expected a divisor of d_model",
        ),
        ({"encoder": {"kind": "distill_mos", "head": 8}}, "x: model_config.encoder.head: unknown key; did you mean"),
        ({"head": {"kind": "mean"}}, "x: model_config.head.kind: expected 'mean_std' or 'mhfa' or 'mlp', got \"mean\""),
        ({"freeze": "all"}, "x: model_config.freeze: expected 'encoder' or 'nothing' or an integer of at least 0"),
        ({"freeze": 3}, "x: model_config.freeze: expected at most 2 blocks, or the word encoder, got 3"),
        ({"layers": [0, 3]}, r"x: model_config.layers\[1\]: expected -3 to 2, got 3"),
        ({"layers": [2, -1]}, r"x: model_config.layers: expected each hidden state once, got \[2, -1\]"),
        ({"resynthesis": {"kind": "griffin"}}, "x: model_config.resynthesis.kind: expected 'griffin_lim' or"),
        (
            {"resynthesis": {"kind": "griffin_lim", "iterations": 0}},
            "x: model_config.resynthesis.iterations: expected an integer of at least 1",
        ),
        ({"nb_samp": 1 << 20}, "x: model_config.nb_samp: expected 32 to 5151, got 1048576"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_key(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_model_config(tiny.MODEL_CONFIG | changes, "x")


@pytest.mark.parametrize("head", sorted(head_kinds()))
def test_a_clip_that_is_filled_up_has_its_own_logits(head: str) -> None:
    """And the hidden states are taken as configured: the head has as many as are chosen."""
    config = parse_model_config(tiny.MODEL_CONFIG | {"head": {"kind": head}, "layers": [0, -1]}, "x")
    network = build_network(config)
    rng = np.random.default_rng(0)
    params, state = made_up(config, rng)
    wave = jnp.asarray(rng.normal(size=(1, 1000)), jnp.float32)
    apply = jax.jit(network.apply)
    alone = apply(params, state, wave)[0]
    filled = apply(params, state, jnp.pad(wave, ((0, 0), (0, 3000))), jnp.array([1000]))[0]
    np.testing.assert_allclose(filled.logits, alone.logits, rtol=0, atol=1e-5)
    shapes = {path: value.shape for path, value in flatten_dict(params["head"], sep="/").items()}
    assert shapes["linear/kernel"][0] == alone.embedding.shape[1]
    assert shapes["key_layers"] == (2,) if head == "mhfa" else shapes["norm/scale"] == (2 * 2 * 12,)


@pytest.mark.parametrize("head", sorted(head_kinds()))
def test_a_head_is_given_the_difference_to_the_copy(head: str) -> None:
    """As composed by hand; and in training, the frozen encoder gets no gradient from either of the two."""
    changes = {"head": {"kind": head}, "layers": [0, -1], "resynthesis": {"kind": "griffin_lim", "iterations": 2}}
    config = parse_model_config(tiny.MODEL_CONFIG | changes, "x")
    network = build_network(config)
    rng = np.random.default_rng(0)
    params, state = made_up(config, rng)
    waves = jnp.asarray(rng.normal(size=(2, 2000)), jnp.float32)
    lengths = jnp.array([1000, 2000])
    waves = jnp.where(jnp.arange(2000)[None] < lengths[:, None], waves, 0)
    found = jax.jit(network.apply)(params, state, waves, lengths)[0]

    def by_hand() -> Any:
        encoder = {"params": params["encoder"], "batch_stats": state["batch_stats"]["encoder"]}
        encode = partial(kind_of(config.encoder).build(config.encoder).apply, encoder)
        copies = griffin_lim.resynthesise(waves, lengths, iterations=2)
        pairs: Any = zip(encode(waves, lengths), encode(copies, lengths), strict=True)
        joined = [jnp.concatenate([one, one - other], axis=2) for one, other in pairs]
        valid = before(config.encoder.steps(lengths), joined[0].shape[1])
        of_head = {"params": params["head"]} | {kind: tree["head"] for kind, tree in state.items() if "head" in tree}
        head = head_of(config.head)
        return head.build(config.head).apply(of_head, head.reduce((joined[0], joined[-1]), valid), valid)

    np.testing.assert_allclose(found.logits, jax.jit(by_hand)().logits, rtol=1e-6, atol=1e-4)

    def loss(params: Any) -> Any:
        keys = RandomKeys(own=jax.random.key(0), shared=jax.random.key(1))
        outputs, _ = network.apply(params, trained_state, waves, lengths, train=True, rng=keys)
        return jnp.square(outputs.logits[:, 0] - 0.3).sum()

    trained_state = jax.tree.map(jnp.asarray, state)
    gradients = flatten_dict(jax.jit(jax.grad(loss))(params), sep="/")
    assert {path.partition("/")[0] for path, gradient in gradients.items() if np.any(gradient != 0)} == {"head"}


def test_a_model_that_needs_python_is_not_exported(clips: Path, tmp_path: Path, command: Command) -> None:
    extra("pyworld", "world")
    config = parse_model_config(tiny.MODEL_CONFIG | {"resynthesis": {"kind": "world"}}, "x")
    params, state = made_up(config, np.random.default_rng(0))
    save_weights(tmp_path / "weights", config, {"params": params, **state}, Source("made up", "0" * 64))
    assert command("score", clips.parent / "eval0.wav", "--weights", tmp_path / "weights", "--published")[0] == 0
    path = tmp_path / "tiny.zip"
    code, _, said = command("export", tmp_path / "weights", "--format", "stablehlo", "--output", path)
    assert (code, path.exists()) == (1, False)
    assert "WORLD (the package pyworld) runs in Python, beside the program that would be exported" in said


def test_world_is_refused_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "find_spec", lambda name: None)
    line = r"x: model_config.resynthesis.kind: world needs the package pyworld; run `pip install 'aasist-jax\[world\]'`"
    with pytest.raises(ConfigError, match=line):
        parse_model_config(tiny.MODEL_CONFIG | {"resynthesis": {"kind": "world"}}, "x")


def test_statistics_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 3)).astype(np.float32)
    valid = np.arange(9)[None] < np.array([[9], [4]])
    found = mean_and_deviation(jnp.asarray(x), jnp.asarray(valid))
    expected = [np.concatenate([row[:n].mean(0), row[:n].std(0)]) for row, n in zip(x, (9, 4), strict=True)]
    np.testing.assert_allclose(found, np.stack(expected), rtol=0, atol=1e-6)


def test_the_perceptron_is_that_of_numpy() -> None:
    """Normalised statistics, a hidden layer with GELU (by its tanh form) and a linear map; dropout only in training."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 2, 5)).astype(np.float32)
    module, given = StatisticsHead(hidden=4, dropout=0.5), (jnp.asarray(x), jnp.ones((3, 1), bool))
    shapes: Any = jax.eval_shape(module.init, jax.random.key(0), *given)
    v = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.5, 1, size=leaf.shape), leaf.dtype), shapes)
    outputs: Any = jax.jit(module.apply)(v, *given)
    params, norm = jax.tree.map(np.asarray, (v["params"], v["batch_stats"]["norm"]))
    y = (x.reshape(3, 10) - norm["mean"]) / np.sqrt(norm["var"] + 1e-5)
    y = y * params["norm"]["scale"] + params["norm"]["bias"]
    y = y @ params["hidden"]["kernel"] + params["hidden"]["bias"]
    y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
    np.testing.assert_allclose(outputs.embedding, y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outputs.logits, y @ params["linear"]["kernel"] + params["linear"]["bias"], rtol=1e-5)

    trained, _ = module.apply(v, *given, train=True, rngs={"dropout": jax.random.key(1)}, mutable=["batch_stats"])
    assert 0 < (trained.embedding == 0).mean() < 1


def test_attentive_pooling_is_that_of_the_paper() -> None:
    """Peng et al., 2022: keys and values from weighted sums over layers, weights over time from keys, by NumPy."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, 2, 7, 5)).astype(np.float32)
    valid = np.ones((2, 7), bool)
    module = FactorisedAttentivePooling(heads=2, compression=4, embedding=6)
    given = (jnp.asarray(states).swapaxes(0, 1), jnp.asarray(valid))
    shapes: Any = jax.eval_shape(module.init, jax.random.key(0), *given)
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes["params"])
    outputs: Any = jax.jit(module.apply)({"params": params}, *given)

    def softmax(x: np.ndarray, axis: int) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum(axis, keepdims=True)

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ params[name]["kernel"] + params[name]["bias"]

    keys = linear(np.tensordot(softmax(params["key_layers"], 0), states, 1), "key")
    values = linear(np.tensordot(softmax(params["value_layers"], 0), states, 1), "value")
    attention = softmax(linear(keys, "attention"), 1)
    pooled = np.stack([(attention[:, :, [head]] * values).sum(1) for head in range(2)], axis=1).reshape(2, -1)
    embedding = linear(pooled, "embed")
    np.testing.assert_allclose(outputs.embedding, embedding, rtol=0, atol=1e-4)
    np.testing.assert_allclose(outputs.logits, linear(embedding, "linear"), rtol=0, atol=1e-4)
