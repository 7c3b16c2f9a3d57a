"""The configurations that come with the package, by name: the files of `configs/` at the top of the repository.

A wheel holds them as `aasist_jax/configs`; an editable install reads those of the repository.
"""

import os
from os import PathLike
from pathlib import Path

from aasist_jax.errors import ConfigError, nearest

_PACKAGE = Path(__file__).resolve().parents[1]


def configuration_names() -> list[str]:
    """Names of the configurations that come with the package, sorted."""
    return sorted(path.stem for path in _folder().glob("*.json"))


def shipped_file(name: str) -> Path:
    """Return the file of a configuration that comes with the package, one of `configuration_names()`."""
    return _folder() / f"{name}.json"


def configuration_file(path_or_name: str | PathLike[str]) -> Path:
    """Return the file that is meant: a file by its path, or a configuration of the package by its name.

    A file that exists is taken before a configuration of the same name. What looks like a path is returned as it is,
    even where there is no such file: reading it says why not.

    Raises:
        ConfigError: a plain name of neither a file nor a configuration; the nearest name is given.
    """
    path = Path(path_or_name)
    names = configuration_names()
    if path.is_file():
        return path
    if str(path) in names:
        return shipped_file(str(path))
    looks_like_a_path = os.sep in str(path_or_name) or path.exists()
    if looks_like_a_path and path.stem not in names:
        return path
    raise ConfigError(
        f"{path_or_name}: no such file, nor a configuration that comes with the package; {nearest(path.stem, names)}"
    )


def _folder() -> Path:
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"
