"""aasist-jax export: Export a model as one ONNX or StableHLO file.

The file is written only if it scores as the model does (logits to 1e-4).
"""

import enum
from pathlib import Path
from typing import Annotated

import typer

from aasist_jax.commands.options import WEIGHTS_HELP, weights_folder


class Format(enum.StrEnum):
    """What a model is exported as."""

    onnx = "onnx"
    stablehlo = "stablehlo"


def export(
    weights: Annotated[str, typer.Argument(help=WEIGHTS_HELP)],
    format: Annotated[Format, typer.Option(help="For ONNX Runtime, or for any program with JAX.")],
    output: Annotated[Path, typer.Option(help="The file to write.")],
) -> None:
    """Export a model, and print how far its logits are from the native ones."""
    from aasist_jax.detection.detector import Detector
    from aasist_jax.export.onnx_file import export_onnx
    from aasist_jax.export.stablehlo_file import export_stablehlo
    from aasist_jax.runtime.start_up import prepare_to_compute

    prepare_to_compute()
    write = export_onnx if format is Format.onnx else export_stablehlo
    difference = write(Detector.from_pretrained(weights_folder(weights)), output)
    print(f"{output}: largest difference of a logit from the native one {difference:.1e}")
