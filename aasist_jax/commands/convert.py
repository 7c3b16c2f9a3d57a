"""aasist-jax convert: Convert a PyTorch checkpoint to weights, or back.

aasist-jax convert MODEL.pth --config CONFIG --output weights/MODEL

aasist-jax convert weights/MODEL --to-torch MODEL.pth

Reading a checkpoint needs no PyTorch, and runs nothing that is in it.
"""

from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.options import CONFIG_HELP
from aasist_jax.errors import ConfigError


def convert(
    source: Annotated[Path, typer.Argument(help="A .pth checkpoint; with --to-torch, a weights folder.")],
    config: Annotated[Path | None, typer.Option(help=CONFIG_HELP)] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for model.safetensors and config.json.")] = None,
    to_torch: Annotated[Path | None, typer.Option(help="Write this .pth file instead.")] = None,
) -> None:
    """Convert in either direction, and print what was written."""
    from aasist_jax.weights.convert import convert_checkpoint, export_checkpoint

    if to_torch is not None:
        if config or output:
            raise ConfigError("--to-torch: goes without --config and --output (the folder knows its model)")
        print(export_checkpoint(source, to_torch))
    elif config is None or output is None:
        raise ConfigError("--config and --output: both are needed to convert a checkpoint to a weights folder")
    else:
        print(convert_checkpoint(source, config, output))
