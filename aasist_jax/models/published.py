"""The description of weights that the authors of a model published."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedWeights:
    """A checkpoint that can be fetched by name.

    Attributes:
        name: the name that users give to fetch it.
        file: file name of the PyTorch checkpoint.
        size: size of the checkpoint in bytes.
        sha256: SHA-256 of the checkpoint, 64 hexadecimal digits.
        url: address of the checkpoint.
        licence: licence of the checkpoint, as an SPDX identifier.
        config: name of the packaged configuration that describes the model.
        default: whether these weights are used when the user names none.
    """

    name: str
    file: str
    size: int
    sha256: str
    url: str
    licence: str
    config: str
    default: bool = False
