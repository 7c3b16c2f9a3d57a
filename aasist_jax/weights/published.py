"""Finds weights by name: those of the package, and published ones.

The published ones are downloaded, checked, converted and stored in the user's cache folder.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aasist_jax.config.shipped import shipped_file
from aasist_jax.errors import DownloadError, UnreachableError, WeightsError, nearest
from aasist_jax.models.family import family, family_names
from aasist_jax.models.published import PublishedWeights
from aasist_jax.runtime.download import download
from aasist_jax.runtime.private_folder import cache_folder, make_private, why_untrusted
from aasist_jax.runtime.progress import byte_progress
from aasist_jax.weights import shipped
from aasist_jax.weights.hub import HUB_PREFIX, fetch_from_hub

URL_VARIABLE = "AASIST_JAX_WEIGHTS_URL"
"""Environment variable: address of another folder with the same checkpoints, such as a mirror."""


@dataclass(frozen=True)
class ListedWeights:
    """Published weights, and their folder; None if they have not been downloaded yet."""

    published: PublishedWeights
    folder: Path | None


def published_weights() -> dict[str, PublishedWeights]:
    """The published weights of every family, by name."""
    entries = [entry for name in family_names() for entry in family(name).published]
    return {entry.name: entry for entry in entries}


def default_weights() -> str:
    """Name of the weights that are used when the user names none: those of the package, or else published ones."""
    if shipped.DEFAULT in shipped.shipped_names():
        return shipped.DEFAULT
    return next(name for name, entry in published_weights().items() if entry.default)


def list_weights(*, cache: Path | str | None = None) -> list[ListedWeights]:
    """List the published weights by name, with the folders of those already downloaded.

    `cache` is as in `fetch_weights`.
    """
    folders = {name: _folder(name, cache) for name in published_weights()}
    return [
        ListedWeights(entry, folders[name] if _complete(folders[name]) else None)
        for name, entry in sorted(published_weights().items())
    ]


def find_weights(
    weights: str | os.PathLike[str] | None, *, download: bool = False, cache: Path | str | None = None
) -> Path:
    """Return the folder of the given weights.

    Args:
        weights: the name of weights of the package, which no folder of that name hides; the path of a folder; the name
            of published weights; or `hf://owner/name`, `hf://owner/name@revision`, a repository of the Hugging Face
            Hub, which is downloaded to the Hub's cache (extra `hub`). None for `default_weights()`.
        download: download published weights that are not in the cache yet.
        cache: as in `fetch_weights`.

    Raises:
        WeightsError: there is no such folder, name or repository, or the published weights have not been downloaded.
            In the latter case the message gives their address and size, and how to download them.
    """
    name = default_weights() if weights is None else os.fspath(weights)
    if name.startswith(HUB_PREFIX):
        return fetch_from_hub(name)
    # A name of the package first: what lies in the folder where a command happens to run must not change its results.
    if name in shipped.shipped_names():
        return shipped.shipped_folder(name)
    if Path(name).is_dir():
        return Path(name)
    if len(weights_names(name)) > 1:
        raise WeightsError(
            f"{name}: several weights, which only `score`, `verdicts`, `evaluate` and `calibrate` take; name one"
        )
    known = published_weights()
    if name not in known:
        names = [*shipped.shipped_names(), *known]
        raise WeightsError(f"{name}: no such folder, nor weights of that name; {nearest(name, names)}")
    folder = _folder(name, cache)
    if _complete(folder):
        return _trusted(folder)
    if download:
        return fetch_weights(name, cache=cache)
    entry = known[name]
    raise WeightsError(
        f"{name}: not in {folder.parent} yet; run `aasist-jax fetch-weights {name}` once, or give download=True in "
        f"Python, to fetch {entry.size:,} bytes from {_address(entry)} ({entry.licence} licence)"
    )


def weights_names(weights: str | os.PathLike[str] | None) -> tuple[str, ...]:
    """The weights that are named together, with commas between; none for None, one for a folder.

    Raises:
        WeightsError: there is nothing before a comma, or after it.
    """
    if weights is None:
        return ()
    name = os.fspath(weights)
    names = (name,) if "," not in name or Path(name).is_dir() else tuple(each.strip() for each in name.split(","))
    if not all(names) and len(names) > 1:
        raise WeightsError(f"{name}: names nothing beside a comma; give weights on both sides of it, as in a,b")
    return names


def fetch_weights(name: str, *, cache: Path | str | None = None, url: str | None = None) -> Path:
    """Return the folder of published weights; download and convert them if they are not in the cache.

    Weights of the package are found where they are.

    Args:
        name: a key of `published_weights()`, or of `shipped_names()`.
        cache: folder in which `weights/NAME/` is stored; default: the user's cache folder of this package.
        url: address of a folder that holds the checkpoint; default: `AASIST_JAX_WEIGHTS_URL`, else the address that
            the authors give. In all cases its SHA-256 must be the published one.

    Returns:
        A folder with `model.safetensors` and `config.json`.

    Raises:
        WeightsError: unknown name, no network, a wrong file, or the cache folder cannot be written.
    """
    if name in shipped.shipped_names():
        return shipped.shipped_folder(name)
    known = published_weights()
    if name not in known:
        raise WeightsError(f"no published weights are called {name!r}; {nearest(name, known)}")
    entry, folder = known[name], _folder(name, cache)
    if _complete(folder):
        return _trusted(folder)
    try:
        make_private(folder.parent)
        # Work in a folder that only this process uses: a killed run then leaves no incomplete weights, and several
        # processes do not disturb each other.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
            _put(_download_and_convert(entry, _address(entry, url), Path(scratch)), folder)
    except UnreachableError as error:
        raise WeightsError(
            f"{error}; or get {entry.file} by other means and run `aasist-jax convert {entry.file} "
            f"--config {entry.config} --output {folder}`"
        ) from error
    except DownloadError as error:
        raise WeightsError(str(error)) from error
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return folder


def _address(entry: PublishedWeights, folder: str | None = None) -> str:
    folder = folder or os.environ.get(URL_VARIABLE)
    return f"{folder.rstrip('/')}/{entry.file}" if folder else entry.url


def _folder(name: str, cache: Path | str | None) -> Path:
    return Path(cache or cache_folder()) / "weights" / name


def _complete(folder: Path) -> bool:
    return (folder / "model.safetensors").is_file() and (folder / "config.json").is_file()


def _trusted(folder: Path) -> Path:
    """The folder, if only this user can have put weights there: they were checked when they were downloaded."""
    reason = why_untrusted(folder, folder.parent.parent)
    if reason:
        raise WeightsError(
            f"{folder}: these may not be the published weights, since {reason}; if they are yours, give this path in "
            "place of the name, or else remove the folder and fetch them again"
        )
    return folder


def _download_and_convert(entry: PublishedWeights, address: str, scratch: Path) -> Path:
    """Download and convert within `scratch`; return the weights folder there."""
    from aasist_jax.weights.convert import convert_checkpoint

    with byte_progress(entry.name) as progress:
        file = download(address, scratch / entry.file, sha256=entry.sha256, size=entry.size, progress=progress)
    return convert_checkpoint(file, shipped_file(entry.config), scratch / entry.name)


def _put(made: Path, folder: Path) -> None:
    # Whatever the umask: a folder that others can write in is not trusted when it is looked for again.
    made.chmod(0o700)
    for file in made.iterdir():
        file.chmod(0o600)
    try:
        os.replace(made, folder)
    except OSError:
        # Another process may have been faster; its result is the same.
        if not _complete(folder):
            raise
