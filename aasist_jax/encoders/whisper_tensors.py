"""From the tensors of a Whisper file, whatever it calls them, to the sizes and variables of its encoder.

Three programs write such files: Hugging Face's, OpenAI's, and CTranslate2. The names of the first are those of the
network here; the functions below translate the others'.
"""

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from flax.traverse_util import flatten_dict

from aasist_jax.encoders.readers import PretrainedEncoder
from aasist_jax.errors import WeightsError
from aasist_jax.models.ssl.encoders.whisper.config import WhisperConfig
from aasist_jax.models.ssl.encoders.whisper.names import NAMES
from aasist_jax.weights.folder import Source
from aasist_jax.weights.names import tensor_names, to_variables

PREFIX = "model.encoder."
"""Of the encoder's tensors in Hugging Face's files of the whole model."""

POSITIONS = 1500
"""Rows of the table of positions of every published Whisper."""

LARGEST_TABLE = 1 << 24
"""The most values in a table of positions; that of the largest Whisper has 1500 x 1280. A small file may say more."""

MODEL = "Whisper's encoder, by Hugging Face's names"

_CTRANSLATE2 = {
    "position_encodings": "embed_positions",
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
_CTRANSLATE2_LEAVES = {"gamma": "weight", "beta": "bias", "encodings": "weight"}
_CTRANSLATE2_FUSED = "self_attention/linear_0"
_OPENAI = {
    "ln_post": "layer_norm",
    "attn_ln": "self_attn_layer_norm",
    "attn.query": "self_attn.q_proj",
    "attn.key": "self_attn.k_proj",
    "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj",
    "mlp_ln": "final_layer_norm",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
}
"""What a module is called in the file, without the number of its layer: what Hugging Face calls it."""


def from_ctranslate2(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The encoder's tensors under Hugging Face's names.

    Queries, keys and values, which are one matrix there, are taken apart. The keys' bias is dropped: it is zero, and
    softmax would cancel it if it were not.

    Args:
        tensors: those whose names begin with `encoder/`, without `encoder/num_heads`. A name that is not known stays.
    """
    renamed: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r"encoder/(?:layer_(\d+)/)?(.+)/(\w+)", name)
        if found is None:
            renamed[name] = tensor
            continue
        layer, module, leaf = found.groups()
        prefix = PREFIX if layer is None else f"{PREFIX}layers.{layer}."
        leaf = _CTRANSLATE2_LEAVES.get(leaf, leaf)
        if module == _CTRANSLATE2_FUSED and layer is not None and tensor.ndim and len(tensor) % 3 == 0:
            for part, third in zip("qkv", np.split(tensor, 3), strict=True):
                if (part, leaf) != ("k", "bias"):
                    renamed[f"{prefix}self_attn.{part}_proj.{leaf}"] = third
        else:
            renamed[f"{prefix}{_CTRANSLATE2.get(module, module)}.{leaf}"] = tensor
    return renamed


def from_openai(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The encoder's tensors under Hugging Face's names.

    Args:
        tensors: those whose names begin with `encoder.`. A name that is not known stays.
    """
    renamed: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        if name == "encoder.positional_embedding":
            renamed[PREFIX + "embed_positions.weight"] = tensor
        elif found := re.fullmatch(r"encoder\.(?:blocks\.(\d+)\.)?(.+)\.(\w+)", name):
            layer, module, leaf = found.groups()
            prefix = PREFIX if layer is None else f"{PREFIX}layers.{layer}."
            renamed[f"{prefix}{_OPENAI.get(module, module)}.{leaf}"] = tensor
        else:
            renamed[name] = tensor
    return renamed


def whisper_encoder(
    tensors: Mapping[str, np.ndarray], heads: int, origin: str, source: Source, positions: int = POSITIONS
) -> PretrainedEncoder:
    """Make the encoder; its sizes are those of the tensors.

    Args:
        tensors: the encoder's, under Hugging Face's names `model.encoder...`.
        heads: attention heads, which no shape tells.
        origin: what messages call the file.
        source: the file.
        positions: rows of the sinusoidal table that is made if the file has none.

    Returns:
        float16 is cast to float32; float64 stays, which weights are in that were quantised to integers.

    Raises:
        WeightsError: tensors are missing, unknown, misshapen or not finite, the heads do not divide the width, or a
            size is out of the range that a configuration may have.
    """
    tensors = {name: _at_least_float32(tensor) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise WeightsError(f"{origin}: {name[:80]!a} holds NaN or infinite values")
    config = _sizes(tensors, heads, origin, positions)
    table = PREFIX + "embed_positions.weight"
    if table not in tensors:
        from aasist_jax.models.ssl.encoders.whisper.network import sinusoids

        tensors[table] = sinusoids(config.max_positions, config.d_model).astype(np.float32)
    shapes = _shapes(config)
    return PretrainedEncoder(
        config, to_variables(shapes, tensor_names(shapes, NAMES, MODEL), tensors, origin, MODEL), source
    )


def _sizes(tensors: Mapping[str, np.ndarray], heads: int, origin: str, positions: int) -> WhisperConfig:
    def shape(name: str, axes: int) -> tuple[int, ...]:
        if PREFIX + name not in tensors:
            raise WeightsError(f"{origin}: not {MODEL}: {PREFIX}{name} is missing")
        found: tuple[int, ...] = tensors[PREFIX + name].shape
        if len(found) == axes and not math.prod(found):
            raise WeightsError(f"{origin}: not {MODEL}: {PREFIX}{name} is empty, of shape {found}")
        if len(found) != axes:
            raise WeightsError(f"{origin}: not {MODEL}: {PREFIX}{name} has shape {found}, expected {axes} axes")
        return found

    width, mels, _ = shape("conv1.weight", 3)
    numbers = {found[1] for name in tensors if (found := re.match(re.escape(PREFIX) + r"layers\.(\d+)\.", name))}
    rows = shape("embed_positions.weight", 2)[0] if PREFIX + "embed_positions.weight" in tensors else positions
    sizes = {
        "num_mel_bins": mels,
        "d_model": width,
        "layers": len(numbers),
        "heads": heads,
        "ffn_dim": shape("layers.0.fc1.weight", 2)[0],
        "max_positions": rows,
    }
    try:
        # Converted, because making the configuration itself does not check the ranges.
        config = msgspec.convert(sizes, WhisperConfig)
    except msgspec.ValidationError as error:
        raise WeightsError(f"{origin}: its sizes do not fit {MODEL}: {' '.join(str(error).split())}") from None
    if config.max_positions * config.d_model > LARGEST_TABLE:
        raise WeightsError(
            f"{origin}: its table of positions has {config.max_positions} rows of {config.d_model} values, more than "
            f"{LARGEST_TABLE} values"
        )
    return config


def _at_least_float32(tensor: np.ndarray) -> np.ndarray:
    return tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor


@cache
def _shapes(config: WhisperConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape of every variable of the encoder, by path."""
    # Imported here because a reader is asked whether it knows a file before anything is computed.
    from aasist_jax.models.ssl.encoders.whisper.network import WhisperEncoder

    waves = jax.ShapeDtypeStruct((1, config.shortest), jnp.float32)
    variables: Any = jax.eval_shape(WhisperEncoder(config).init, jax.random.key(0), waves)
    return flatten_dict({"params": variables["params"]}, sep="/")
