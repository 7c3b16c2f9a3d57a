"""aasist-jax convert: Convert a PyTorch checkpoint to weights, or back.

aasist-jax convert MODEL.pth --config CONFIG --output weights/MODEL

aasist-jax convert weights/MODEL --to-torch MODEL.pth

aasist-jax convert weights/MODEL --dtype float16 --output weights/HALF

Reading a checkpoint needs no PyTorch, and runs nothing that is in it.
"""

import enum
from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.options import CONFIG_HELP
from aasist_jax.errors import ConfigError


class Dtype(enum.StrEnum):
    """The types that parameters are stored as."""

    float32 = "float32"
    float16 = "float16"


def convert(
    source: Annotated[Path, typer.Argument(help="A .pth checkpoint, or a weights folder.")],
    config: Annotated[Path | None, typer.Option(help=CONFIG_HELP)] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for model.safetensors and config.json.")] = None,
    to_torch: Annotated[Path | None, typer.Option(help="Write this .pth file instead.")] = None,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Store parameters so: float16 takes half the bytes. Default: as they are.")
    ] = None,
) -> None:
    """Convert in either direction, and print what was written."""
    from aasist_jax.weights.convert import convert_checkpoint, export_checkpoint, store_again

    if to_torch is not None:
        if config or output or dtype:
            raise ConfigError("--to-torch: goes without --config, --output and --dtype (the folder knows its model)")
        print(export_checkpoint(source, to_torch))
    elif source.is_dir():
        if config or output is None or dtype is None:
            raise ConfigError(
                f"{source}: is a weights folder; give --to-torch FILE, or --dtype and --output to store it once more"
            )
        print(store_again(source, output, dtype.value))
    elif config is None or output is None:
        raise ConfigError("--config and --output: both are needed to convert a checkpoint to a weights folder")
    else:
        print(convert_checkpoint(source, config, output, dtype=None if dtype is None else dtype.value))
