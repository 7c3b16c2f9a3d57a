"""Weights that come with the package: a weights folder that lies here is found by its name.

Each holds its calibration, `LICENSE`, and `NOTICE`, which says what it was made from.
"""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent

DEFAULT = "default"
"""The weights that are used when the user names none, if they are here."""

LICENCE = "MIT"
"""Of all of them, as an SPDX identifier."""


def shipped_names() -> list[str]:
    """Names of the weights that come with the package, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.json"))


def shipped_folder(name: str) -> Path:
    """The folder of one of `shipped_names()`. Nothing is ever written into it."""
    return FOLDER / name


def is_shipped(folder: Path) -> bool:
    """Whether a weights folder is part of the package."""
    return folder.resolve().parent == FOLDER


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
