"""What a family says of the weights that its authors published."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedWeights:
    """A checkpoint that can be fetched by name.

    Attributes:
        name: what users call it.
        file: name of the PyTorch checkpoint.
        size: length of the checkpoint in bytes.
        sha256: its SHA-256, 64 hexadecimal digits.
        url: its address.
        licence: under which its authors publish it, as an SPDX identifier.
        config: name of the configuration that comes with the package and describes the model.
        default: whether this is what is used where nobody names any weights.
    """

    name: str
    file: str
    size: int
    sha256: str
    url: str
    licence: str
    config: str
    default: bool = False
