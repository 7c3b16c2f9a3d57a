"""Convert weights: a PyTorch checkpoint to a weights folder, or back with --to-torch.

python convert_weights.py AASIST-L.pth --config configs/AASIST-L.json --output weights/AASIST-L
python convert_weights.py weights/AASIST-L --to-torch AASIST-L.pth
"""

from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.cli import run
from aasist_jax.errors import ConfigError


def main(
    source: Annotated[Path, typer.Argument(help="A .pth checkpoint; with --to-torch, a weights folder.")],
    config: Annotated[Path | None, typer.Option(help="JSON or official .conf file that describes the model.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for model.safetensors and config.json.")] = None,
    to_torch: Annotated[Path | None, typer.Option(help="Write this .pth file instead.")] = None,
) -> None:
    """Convert a PyTorch checkpoint to a weights folder, or a weights folder to a PyTorch checkpoint."""
    from aasist_jax.weights.convert import convert_checkpoint, export_checkpoint

    if to_torch is not None:
        if config or output:
            raise ConfigError("--to-torch: goes without --config and --output (the folder knows its model)")
        print(export_checkpoint(source, to_torch))
    elif config is None or output is None:
        raise ConfigError("--config and --output: both are needed to convert a checkpoint to a weights folder")
    else:
        print(convert_checkpoint(source, config, output))


if __name__ == "__main__":
    run(main)
