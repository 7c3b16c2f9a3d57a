"""Reads Whisper's encoder from a model folder of Hugging Face: whole, bare, or with a classifier."""

from pathlib import Path
from typing import Any

from aasist_jax.encoders.readers import PretrainedEncoder, Reader
from aasist_jax.encoders.whisper_tensors import POSITIONS, PREFIX, whisper_encoder
from aasist_jax.errors import CheckpointError, ConfigError, WeightsError
from aasist_jax.runtime.files import sha256_of
from aasist_jax.weights.folder import Source
from aasist_jax.weights.hugging_face import model_type, read_model

MODEL_TYPE = "whisper"
SHORT_PREFIX = "encoder."
"""Of the encoder's tensors in a bare model, and in a classifier."""

OTHERS = ("model.decoder.", "decoder.", "proj_out.", "projector.", "classifier.", "layer_weights")
"""Tensors that belong to such models, and not to the encoder: the decoder, and the head of a classifier."""


def _is_of_the_encoder(name: str) -> bool:
    return name.startswith((PREFIX, SHORT_PREFIX))


def _recognises(path: Path) -> bool:
    return model_type(path) == MODEL_TYPE


def _read(path: Path) -> PretrainedEncoder:
    try:
        model = read_model(path, _is_of_the_encoder)
    except (CheckpointError, ConfigError) as error:
        raise WeightsError(str(error)) from None
    unknown = sorted(name for name in model.names if not _is_of_the_encoder(name) and not name.startswith(OTHERS))
    if unknown:
        raise WeightsError(f"{path}: holds {unknown[0][:80]!a}, which is no tensor of Whisper or a classifier on it")
    if (activation := model.config.get("activation_function", "gelu")) != "gelu":
        raise WeightsError(f"{path}: activation_function is {activation!a:.80}; only gelu is computed here")
    tensors = {PREFIX + name.removeprefix(PREFIX).removeprefix(SHORT_PREFIX): x for name, x in model.tensors.items()}
    if len(tensors) < len(model.tensors):
        raise WeightsError(f"{path}: holds the encoder twice, as {PREFIX}... and as {SHORT_PREFIX}...")
    source = Source(model.files[0].name, sha256_of(*model.files))
    heads, positions = _size(model.config, "encoder_attention_heads", path), POSITIONS
    if "max_source_positions" in model.config:
        positions = _size(model.config, "max_source_positions", path)
    return whisper_encoder(tensors, heads, str(path), source, positions)


def _size(config: dict[str, Any], key: str, path: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise WeightsError(f"{path}: the config.json there has {key} {value!a:.80}, expected a positive number")
    return value


READER = Reader(
    reads="Whisper by Hugging Face (a folder of config.json and model.safetensors)",
    recognises=_recognises,
    read=_read,
)
