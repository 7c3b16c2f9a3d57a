"""Reads the tensors of a model folder of Hugging Face: `config.json` and safetensors in one file or in several.

A `pytorch_model.bin` of such a folder is a checkpoint of PyTorch, which `torch_file` reads.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from aasist_jax.config import read_json
from aasist_jax.errors import CheckpointError, ConfigError
from aasist_jax.runtime.files import read_text
from aasist_jax.weights.torch_file import read_torch_file

CONFIG_FILE, ONE_FILE, INDEX_FILE, TORCH_FILE = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
)
MODEL_FILES = (ONE_FILE, INDEX_FILE, TORCH_FILE)
"""What may hold the tensors, or say where they are; the first that is there is read."""

_LARGEST_HEADER = 16 << 20
"""Bytes; the names and shapes of ten thousand tensors take 1 MB."""

_TYPES = frozenset(("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"))
"""What NumPy has a type for; not those of four to eight bits that are floating-point."""


class ModelFiles(NamedTuple):
    """What has been read of a model folder.

    Attributes:
        config: the content of `config.json`.
        names: all tensors that the files hold.
        tensors: those that were asked for; bfloat16 has become float32, which holds it exactly.
        files: the files that the tensors are from, in the order of their names.
    """

    config: dict[str, Any]
    names: frozenset[str]
    tensors: dict[str, np.ndarray]
    files: tuple[Path, ...]


def model_file(path: Path) -> Path | None:
    """The file of a model folder that holds its tensors or says where they are; a path of such a file is itself."""
    if path.is_dir():
        return next((path / name for name in MODEL_FILES if (path / name).is_file()), None)
    return path if path.name in MODEL_FILES or path.suffix == ".safetensors" else None


def model_type(path: Path) -> str:
    """What the `config.json` of a model folder, or beside one of its files, says that the model is; '' if nothing."""
    file = model_file(path)
    if file is None or not (file.parent / CONFIG_FILE).is_file():
        return ""
    try:
        return str(json.loads(read_text(file.parent / CONFIG_FILE)).get("model_type", ""))
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""


def read_model(path: Path, wanted: Callable[[str], bool]) -> ModelFiles:
    """Read the configuration and the tensors whose names are `wanted`.

    Args:
        path: the folder, or the file in it that `model_file` finds.
        wanted: says of a name whether to read the tensor.

    Raises:
        CheckpointError: a file is missing or damaged; the message names it.
        ConfigError: `config.json` is missing or damaged.
    """
    file = model_file(path)
    if file is None:
        raise CheckpointError(f"{path}: no {' or '.join(MODEL_FILES)} there")
    config = read_json(file.parent / CONFIG_FILE)
    if file.name == TORCH_FILE:
        every = read_torch_file(file)
        return ModelFiles(config, frozenset(every), {name: every[name] for name in every if wanted(name)}, (file,))
    if file.name == INDEX_FILE:
        places = _index(file)
        files = tuple(sorted({file.parent / place for place in places.values()}))
    else:
        places, files = None, (file,)
    names: set[str] = set()
    tensors: dict[str, np.ndarray] = {}
    for part in files:
        _read_safetensors(part, wanted, names, tensors)
    missing = sorted(set(places or ()) - names)
    if missing:
        raise CheckpointError(f"{file}: its tensor {_shown(missing[0])} is in none of its files")
    return ModelFiles(config, frozenset(names), tensors, files)


def _index(file: Path) -> dict[str, str]:
    """The file of each tensor. A name that leads out of the folder is refused."""
    try:
        places = read_json(file).get("weight_map")
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{file}: has no weight_map of the files of its tensors")
    for place in places.values():
        is_name = isinstance(place, str) and place.isprintable() and place == Path(place).name
        if not is_name or not place.endswith(".safetensors"):
            raise CheckpointError(f"{file}: names {_shown(place)}, which is no safetensors file beside it")
    for place in sorted(set(places.values())):
        if not (file.parent / place).is_file():
            raise CheckpointError(f"{file}: names {_shown(place)}, which is not there; fetch all files of the model")
    return places


def _read_safetensors(
    file: Path, wanted: Callable[[str], bool], names: set[str], tensors: dict[str, np.ndarray]
) -> None:
    """Add the names and the wanted tensors of one file to those that are there."""
    try:
        with file.open("rb") as start:
            size = int.from_bytes(start.read(8), "little")
        if size > _LARGEST_HEADER:
            raise ValueError(f"its header has {size} bytes, more than {_LARGEST_HEADER}")
        with safe_open(file, "numpy") as content:
            found = set(content.keys())
            if twice := sorted(names & found):
                raise CheckpointError(f"{file}: has {_shown(twice[0])}, as another file of the model does")
            names |= found
            for name in sorted(filter(wanted, found)):
                if (kind := content.get_slice(name).get_dtype()) not in _TYPES:
                    raise CheckpointError(
                        f"{file}: its tensor {_shown(name)} is of type {kind}, which is not read; convert it to F16"
                    )
                tensor = content.get_tensor(name)
                tensors[name] = tensor.astype(np.float32) if tensor.dtype == ml_dtypes.bfloat16 else tensor
    except (SafetensorError, OSError, TypeError, ValueError, KeyError) as error:
        # The library's messages may hold text of the file.
        reason = _shown(" ".join(str(error).split()), 200)
        raise CheckpointError(f"{file}: not a readable safetensors file ({reason}); fetch it anew") from None


def _shown(text: object, longest: int = 80) -> str:
    """What a file says, for a message of one line: printable, and cut before it is quoted."""
    return ascii(text[:longest]) if isinstance(text, str) else ascii(text)[:longest]
