"""Finds the configurations that come with the package: the JSON files in `configs/`, by their names without suffix.

A wheel contains them in `aasist_jax/configs`; an editable install reads the folder `configs` of the repository.
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
    """Return the path of a configuration file, given its path or the name of a configuration of the package.

    An existing file takes precedence over a configuration of the same name. A path to a file that does not exist is
    returned unchanged; the error comes when it is read.

    Raises:
        ConfigError: the name is neither that of a file nor that of a configuration. The message suggests the nearest
            name.
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
