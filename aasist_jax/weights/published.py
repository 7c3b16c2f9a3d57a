"""The official pretrained weights: downloaded, checked, converted and kept in the user's cache folder.

The checkpoints are those of Jung et al., "AASIST: Audio anti-spoofing using integrated spectro-temporal graph
attention networks" (ICASSP 2022), which the authors publish under the MIT licence.
"""

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from aasist_jax.errors import WeightsError
from aasist_jax.runtime.download import DownloadError, UnreachableError, download
from aasist_jax.runtime.progress import byte_progress

WEIGHTS_URL = "https://raw.githubusercontent.com/clovaai/aasist/a04c9863f63d44471dde8a6abcb3b082b07cd1d1/models/weights"
URL_VARIABLE = "AASIST_JAX_WEIGHTS_URL"
"""Environment variable: the address of another folder that holds the same NAME.pth files."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint: length in bytes, SHA-256, and the `model_config` it was trained with."""

    size: int
    sha256: str
    model_config: dict[str, Any]


def _published(filts: list[Any], gat_dims: list[int], pool_ratios: list[float]) -> dict[str, Any]:
    return {
        "architecture": "AASIST",
        "nb_samp": 64600,
        "first_conv": 128,
        "filts": filts,
        "gat_dims": gat_dims,
        "pool_ratios": pool_ratios,
        "temperatures": [2.0, 2.0, 100.0, 100.0],
    }


CHECKPOINTS = {
    "AASIST": Checkpoint(
        1_281_532,
        "51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0",
        _published([70, [1, 32], [32, 32], [32, 64], [64, 64]], [64, 32], [0.5, 0.7, 0.5, 0.5]),
    ),
    "AASIST-L": Checkpoint(
        426_428,
        "814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a",
        _published([70, [1, 32], [32, 32], [32, 24], [24, 24]], [24, 32], [0.4, 0.5, 0.7, 0.5]),
    ),
}


def fetch_weights(name: str, *, cache: Path | str | None = None, url: str | None = None) -> Path:
    """Return the weights folder of an official model; what is not in the cache is downloaded and converted.

    Args:
        name: a key of `CHECKPOINTS`.
        cache: folder to keep `weights/NAME/` in; the user's cache folder of this package unless given.
        url: address of the folder that holds NAME.pth; else `AASIST_JAX_WEIGHTS_URL`, else the authors'
            repository. Wherever it comes from, its SHA-256 must be the published one.

    Returns:
        A folder with `model.safetensors` and `config.json`.

    Raises:
        WeightsError: unknown name, no network, a wrong file, or the cache folder cannot be written.
    """
    checkpoint = _checkpoint(name)
    folder = _folder(name, cache)
    if _complete(folder):
        return folder
    base = (url or os.environ.get(URL_VARIABLE) or WEIGHTS_URL).rstrip("/")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Everything is made in a folder of this process's own: a killed run leaves no half-made weights, and
        # several at once do not disturb each other.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as made:
            _make(name, checkpoint, base, Path(made))
            _put(Path(made, name), folder)
    except UnreachableError as error:
        raise WeightsError(
            f"{error}; or get {name}.pth by other means and run `python convert_weights.py {name}.pth "
            f"--config configs/{name}.json --output {folder}`"
        ) from error
    except DownloadError as error:
        raise WeightsError(str(error)) from error
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return folder


def find_weights(weights: str, *, cache: Path | str | None = None) -> Path:
    """Return the weights folder that is meant: a folder by its path, or official weights fetched before by name.

    Raises:
        WeightsError: there is no such folder, and no such weights in the cache.
    """
    if Path(weights).is_dir():
        return Path(weights)
    if weights not in CHECKPOINTS:
        raise WeightsError(f"{weights}: no such weights folder, and not one of {', '.join(CHECKPOINTS)}")
    folder = _folder(weights, cache)
    if not _complete(folder):
        raise WeightsError(f"{weights}: not in {folder.parent} yet; run `aasist-jax fetch-weights {weights}` once")
    return folder


def _checkpoint(name: str) -> Checkpoint:
    if name not in CHECKPOINTS:
        raise WeightsError(f"no official weights are called {name!r}; there are {', '.join(CHECKPOINTS)}")
    return CHECKPOINTS[name]


def _folder(name: str, cache: Path | str | None) -> Path:
    return Path(cache or user_cache_path("aasist_jax")) / "weights" / name


def _complete(folder: Path) -> bool:
    return (folder / "model.safetensors").is_file() and (folder / "config.json").is_file()


def _make(name: str, checkpoint: Checkpoint, base: str, scratch: Path) -> None:
    """Download and convert within `scratch`; the weights are then in `scratch/NAME`."""
    from aasist_jax.weights.convert import convert_checkpoint

    with byte_progress(name) as progress:
        file = download(
            f"{base}/{name}.pth",
            scratch / f"{name}.pth",
            sha256=checkpoint.sha256,
            size=checkpoint.size,
            progress=progress,
        )
    config = scratch / f"{name}.json"
    config.write_text(json.dumps({"model_config": checkpoint.model_config}))
    convert_checkpoint(file, config, scratch / name)


def _put(made: Path, folder: Path) -> None:
    try:
        os.replace(made, folder)
    except OSError:
        # Another process may have been faster; what it made is the same.
        if not _complete(folder):
            raise
