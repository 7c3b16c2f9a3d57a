"""A checkpoint that does not fit: one line with at most three tensors, their count, and what it looks like."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aasist_jax.config import configuration_names, load_config
from aasist_jax.errors import WeightsError
from aasist_jax.models.family import family_names
from aasist_jax.weights.convert import convert_checkpoint
from aasist_jax.weights.names import torch_shapes
from aasist_jax.weights.recognition import STRANGERS, what_it_looks_like
from aasist_jax.weights.torch_file import write_torch_file

CONFIG = load_config("AASIST-L").model_config

NAMES = {
    "RawGAT-ST": ("encoder1.0.0.conv_1.weight", "encoder2.0.0.conv_1.weight", "proj_node.weight"),
    "RawNet2": ("block0.0.conv1.weight", "fc_attention0.0.weight", "gru.weight_ih_l0"),
    "SSL_Anti-spoofing (wav2vec 2.0 of fairseq and a back-end)": (
        *("module.ssl_model.model.feature_extractor.conv_layers.0.0.weight",),
        *("module.ssl_model.model.post_extract_proj.weight", "module.out_layer.weight"),
    ),
    "wav2vec 2.0 of fairseq": ("feature_extractor.conv_layers.0.0.weight", "post_extract_proj.weight"),
    "WavLM of Hugging Face": (
        *("wavlm.feature_extractor.conv_layers.0.conv.weight", "wavlm.feature_projection.projection.weight"),
        "wavlm.encoder.layers.0.attention.gru_rel_pos_linear.weight",
    ),
    "wav2vec 2.0 or HuBERT of Hugging Face": (
        *("wav2vec2.feature_extractor.conv_layers.0.conv.weight", "wav2vec2.feature_projection.projection.weight"),
    ),
    "Whisper of OpenAI": ("encoder.positional_embedding", "encoder.blocks.0.attn.query.weight"),
    "Whisper of Hugging Face": (
        *("model.encoder.embed_positions.weight", "model.encoder.conv1.weight"),
        "model.encoder.layers.0.self_attn.q_proj.weight",
    ),
}


def zeros(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {
        name: np.zeros(shape, np.int64 if name.endswith("num_batches_tracked") else np.float32)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("name", [name for name, _ in STRANGERS])
def test_models_that_are_often_met_are_told_by_their_names(name: str) -> None:
    tensors = {tensor: np.zeros(1, np.float32) for tensor in NAMES[name]}
    assert what_it_looks_like(tensors, CONFIG).startswith(f"it looks like {name}, which is none of the architectures")


def test_what_looks_like_nothing_known_is_not_guessed() -> None:
    tensors = {NAMES[name][0]: np.zeros(1, np.float32) for name in NAMES}
    assert what_it_looks_like(tensors, CONFIG) == ""


@pytest.mark.parametrize("name", ["AASIST", "AASIST-L"])
def test_a_checkpoint_of_another_configuration_is_told_which(name: str, tmp_path: Path) -> None:
    """AASIST.pth with AASIST-L's configuration: "this is AASIST; use --config AASIST". And the other way round."""
    other = {"AASIST": "AASIST-L", "AASIST-L": "AASIST"}[name]
    assert {name, other} <= set(configuration_names())
    write_torch_file(tmp_path / "some.pth", zeros(torch_shapes(load_config(name).model_config)))
    with pytest.raises(WeightsError) as caught:
        convert_checkpoint(tmp_path / "some.pth", other, tmp_path / "weights")
    message = str(caught.value)
    assert message.endswith(f" more; this is {name}; use --config {name}")
    assert message.count(" has shape ") == 3
    assert len(message) < 600
    assert not (tmp_path / "weights").exists()


def test_what_has_the_shapes_of_its_configuration_is_not_sent_elsewhere(tmp_path: Path) -> None:
    tensors = zeros(torch_shapes(CONFIG))
    tensors["pos_S"] = tensors["pos_S"].astype(np.int64)
    write_torch_file(tmp_path / "some.pth", tensors)
    with pytest.raises(WeightsError, match=r"pos_S has type int64, expected a float type$"):
        convert_checkpoint(tmp_path / "some.pth", "AASIST-L", tmp_path / "weights")


def test_another_size_of_a_family_is_told() -> None:
    shapes = torch_shapes(CONFIG)
    shapes["pos_S"] = (1, 5, 24)
    assert what_it_looks_like(zeros(shapes), CONFIG) == (
        "it looks like AASIST of another size; give --config the configuration that it was trained with"
    )


@pytest.mark.reference
def test_the_official_weights_of_another_model_are_one_short_line(
    command: Callable[..., Any], reference: Path, tmp_path: Path
) -> None:
    """`convert` with RawGAT-ST's official weights: at most three tensors, a count, and what it looks like."""
    checkpoint = reference / "weights" / "RawGAT-ST-mul.pth"
    code, out, err = command("convert", checkpoint, "--config", "AASIST", "--output", tmp_path / "weights")
    assert (code, out) == (1, "")
    assert err == (
        f"error: {checkpoint}: does not fit AASIST as configured, of the model's 229 tensors 224 are missing; of the "
        "file's 237 tensors 232 are not used: encoder.0.0.bn2.bias is missing; encoder1.0.0.conv_1.weight is not used; "
        "encoder.0.0.bn2.weight is missing; and 453 more; it looks like RawGAT-ST, which is none of the architectures "
        f"here ({', '.join(family_names())})\n"
    )
