"""Converts PyTorch checkpoints (`.pth`) to weights folders, and back; stores a folder again in another type."""

from os import PathLike
from pathlib import Path

from aasist_jax.config import load_config
from aasist_jax.errors import WeightsError
from aasist_jax.runtime.files import sha256_of
from aasist_jax.weights.folder import Source, Stored, load_weights, save_weights
from aasist_jax.weights.names import from_torch, to_torch
from aasist_jax.weights.recognition import what_it_looks_like
from aasist_jax.weights.torch_file import read_torch_file, write_torch_file


def convert_checkpoint(
    checkpoint: str | PathLike[str],
    config: str | PathLike[str],
    output: str | PathLike[str],
    *,
    dtype: Stored | None = None,
) -> Path:
    """Convert a PyTorch checkpoint to a weights folder.

    Args:
        checkpoint: a `.pth` file in PyTorch's zip format; no code in it is run.
        config: the JSON or official `.conf` file whose `model_config` describes the model.
        output: the folder to write `model.safetensors` and `config.json` into.
        dtype: the type that parameters are stored as; None: that of the checkpoint.

    Raises:
        CheckpointError: the file is damaged, malicious or of another kind.
        WeightsError: its tensors do not fit the configured model; the message names some, and says what
            the checkpoint looks like.
    """
    model_config = load_config(config).model_config
    tensors = read_torch_file(checkpoint)
    try:
        variables = from_torch(model_config, tensors, str(checkpoint))
    except WeightsError as error:
        guess = what_it_looks_like(tensors, model_config)
        raise WeightsError(f"{error}; {guess}" if guess else str(error)) from None
    source = Source(Path(checkpoint).name, sha256_of(Path(checkpoint)))
    return save_weights(output, model_config, variables, source, dtype=dtype)


def store_again(folder: str | PathLike[str], output: str | PathLike[str], dtype: Stored) -> Path:
    """Write a weights folder once more, its parameters in another type.

    Its calibration is not taken along: other numbers are other weights, and want a calibration of their own.

    Raises:
        WeightsError: as `load_weights` and `save_weights`; or both are the same folder.
    """
    if Path(output).resolve() == Path(folder).resolve():
        raise WeightsError(f"{output}: holds the weights that are to be stored again; give another --output")
    weights = load_weights(folder)
    return save_weights(output, weights.config, weights.variables, weights.source, dtype=dtype)


def export_checkpoint(folder: str | PathLike[str], output: str | PathLike[str]) -> Path:
    """Write a weights folder as a checkpoint that the official PyTorch model loads with `strict=True`."""
    weights = load_weights(folder)
    write_torch_file(output, to_torch(weights.config, weights.variables))
    return Path(output)
