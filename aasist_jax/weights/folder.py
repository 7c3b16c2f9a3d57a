"""The weights folder: `model.safetensors` and `config.json`.

Parameters may be stored as float16, in half the bytes; in memory they are float32 again. The other variables are always
stored as they are: a variance may lie below the smallest normal float16 (6.1e-5), where the digits run out, and what is
divided by its root would change with it.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from safetensors import SafetensorError
from safetensors.numpy import load, save

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.config import parse_dataclass, parse_model_config, read_json, to_json
from aasist_jax.errors import ConfigError, WeightsError
from aasist_jax.models.family import family_of, window_of
from aasist_jax.models.variables import ModelState, Params, Variables, split_variables
from aasist_jax.runtime.files import replacing
from aasist_jax.weights.names import check_leaves, check_variables, variable_shapes

FORMAT = 1
MODEL_FILE, CONFIG_FILE = "model.safetensors", "config.json"
Stored = Literal["float32", "float16"]
"""The type of parameters in a file."""

HEADER_BYTES = 16 << 20
"""More than the names and shapes of any model take in a file of tensors."""


@dataclass(frozen=True)
class Source:
    """The origin of weights: a file name and its SHA-256, or a training run and the hash of its configuration."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Weights:
    """The content of a weights folder.

    Attributes:
        config: the `model_config` dataclass of the architecture.
        variables: `{"params": params, **model_state}`, NumPy arrays; float32 where the file has float16.
        source: the origin of the weights.
        weights_id: the stem of the source name and twelve hex digits of a SHA-256 over the configuration and the
            content of `model.safetensors`: other pool ratios over the same tensors are other weights, and so are the
            same ones stored as float16.
        tensors_id: the same over the content of `model.safetensors` alone; what a run that starts from it is known by,
            since its configuration may have another window.
    """

    config: Any
    variables: dict[str, Any]
    source: Source
    weights_id: str
    tensors_id: str

    @property
    def params(self) -> Params:
        """The trained parameters."""
        return split_variables(self.variables)[0]

    @property
    def model_state(self) -> ModelState:
        """The other variables."""
        return split_variables(self.variables)[1]


def save_weights(
    folder: str | PathLike[str], config: Any, variables: Variables, source: Source, *, dtype: Stored | None = None
) -> Path:
    """Write a weights folder. The files of an existing folder are replaced, the configuration last.

    `config.json` holds what is needed to use the tensors: the architecture and its `model_config`, the sample rate, the
    window in samples, the labels in the order of the outputs, the index of the bona fide output, and the source.

    Args:
        folder: to write.
        config: the `model_config`.
        variables: parameters and state.
        source: the origin of the weights.
        dtype: the type that parameters are stored as; None: as they are.

    Raises:
        WeightsError: the variables do not fit the model, a parameter is too large for `dtype`, or the folder cannot be
            written.
    """
    folder = Path(folder)
    flat = check_variables(config, variables, str(folder))
    if dtype is not None:
        flat = {path: _as_stored(path, value, dtype, str(folder)) for path, value in flat.items()}
    description = {
        "format": FORMAT,
        "model_config": {"architecture": family_of(config).name} | to_json(config),
        **_facts(config),
        "source": asdict(source),
    }
    content = save({path: np.ascontiguousarray(value).reshape(value.shape) for path, value in flat.items()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Both files are written before either is moved into place; the configuration is moved last.
        with replacing(folder / CONFIG_FILE) as config_file, replacing(folder / MODEL_FILE) as model_file:
            model_file.write_bytes(content)
            config_file.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return folder


def _as_stored(path: str, value: np.ndarray, dtype: Stored, origin: str) -> np.ndarray:
    if value.dtype.kind != "f" or not path.startswith("params/"):
        return value
    largest = np.abs(value).max(initial=0)
    if largest > np.finfo(dtype).max:
        raise WeightsError(f"{origin}: {path} holds values up to {largest:.3g}, too large for {dtype}; store float32")
    return value.astype(dtype)


def load_weights(folder: str | PathLike[str]) -> Weights:
    """Read a weights folder and check every tensor against the architecture.

    Raises:
        WeightsError: there is no such folder, a file is damaged, or tensors do not fit; the message names them.
        ConfigError: `config.json` is damaged or has unexpected values.
    """
    folder = Path(folder)
    for name in (CONFIG_FILE, MODEL_FILE):
        if not (folder / name).is_file():
            raise WeightsError(
                f"{folder}: no {name} there; convert a checkpoint with `aasist-jax convert`, or get published weights "
                "with `aasist-jax fetch-weights` (`aasist-jax models` lists them)"
            )
    description = read_json(folder / CONFIG_FILE)
    config = _check_description(description, str(folder / CONFIG_FILE))
    shapes = variable_shapes(config)
    try:
        content = _read_tensors(folder / MODEL_FILE, shapes)
        flat = load(content)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{folder / MODEL_FILE}: not a readable safetensors file ({error})") from None
    check_leaves(shapes, flat, str(folder / MODEL_FILE))
    source = Source(**description["source"])
    described = json.dumps({"architecture": family_of(config).name} | to_json(config), sort_keys=True)
    digests = (hashlib.sha256(data).hexdigest()[:12] for data in (described.encode() + b"\0" + content, content))
    stem = Path(source.name).stem
    flat = {path: as_float32(value) for path, value in flat.items()}
    return Weights(config, unflatten_dict(flat, sep="/"), source, *(f"{stem}-{digest}" for digest in digests))


def as_float32(x: np.ndarray) -> np.ndarray:
    """What is computed with: float32 in place of float16, in which epsilons and variances would vanish."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _read_tensors(path: Path, shapes: Mapping[str, jax.ShapeDtypeStruct]) -> bytes:
    """The content of a file of tensors, if it is no larger than the configured model can be."""
    largest = HEADER_BYTES + sum(8 * math.prod(shape.shape) for shape in shapes.values())
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        size = path.stat().st_size
        raise WeightsError(
            f"{path}: {size:,} bytes; the configured model has at most {largest:,}: wrong file or config"
        )
    return content


def _check_description(description: dict[str, Any], origin: str) -> Any:
    """Check the content of `config.json` and return the parsed `model_config`."""
    config = parse_model_config(description.get("model_config"), origin)
    for key, value in ({"format": FORMAT} | _facts(config)).items():
        if description.get(key) != value:
            raise ConfigError(f"{origin}: {key}: expected {json.dumps(value)}, got {json.dumps(description.get(key))}")
    parse_dataclass(Source, description.get("source"), origin, "source")
    return config


def _facts(config: Any) -> dict[str, Any]:
    """What is needed to use the tensors, in addition to the configuration."""
    family = family_of(config)
    return {
        "sample_rate": SAMPLE_RATE,
        "window": window_of(config).samples,
        "labels": list(family.labels),
        "bonafide_index": family.labels.index("bonafide"),
    }
