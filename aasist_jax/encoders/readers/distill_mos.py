"""Reads Distill-MOS from the wheel of the package `distillmos`, from the installed package, or from its checkpoint.

The package is only looked for, never imported: it would bring PyTorch and torchaudio. It carries the weights under the
MIT licence (Microsoft).
"""

import hashlib
import lzma
import zipfile
import zlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from aasist_jax.encoders.readers import PretrainedEncoder, Reader
from aasist_jax.errors import CheckpointError, WeightsError
from aasist_jax.models.ssl.encoders.distill_mos.config import DistillMOSConfig
from aasist_jax.models.ssl.encoders.distill_mos.names import NAMES
from aasist_jax.weights.folder import Source
from aasist_jax.weights.names import tensor_names, to_tensors, to_variables
from aasist_jax.weights.torch_file import parse_torch_file

NAME = "distill_mos"
MEMBER = "distillmos/weights/distill_mos_v7.pt"
"""Where the wheel holds the weights, and the installed package too."""

SIZE = 16_907_522
SHA256 = "b18b3ac60227267cfb91e5d00ce22cc7b73716fd92f269484da1446e27031a40"
"""Of the published weights. Another checkpoint of the same sizes is read from its own file, and never by name."""

_DAMAGE = (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, zlib.error, lzma.LZMAError, EOFError)
"""What `zipfile` raises for an archive that is damaged, or is none: a wrong CRC or structure, no such member, an
unknown compression method or version, an encrypted member, and what decompressors raise for invalid or cut data."""

HOW_TO_GET = (
    "install it without what it depends on, `pip install --no-deps distillmos==0.9.1` (16 MB, MIT licence), or give "
    "the path of its wheel, from `pip download --no-deps distillmos==0.9.1`"
)


class DistillMOSWeights(NamedTuple):
    """The whole published network: its sizes, its variables (of the module `DistillMOS`), and where they are from."""

    config: DistillMOSConfig
    variables: dict[str, Any]
    source: Source


def read_distill_mos(path: Path) -> DistillMOSWeights:
    """Read the wheel, or a checkpoint that has been taken out of it.

    Raises:
        WeightsError: no such file; another wheel; not the published weights where those are meant; damaged.
    """
    try:
        content = _from_wheel(path) if path.suffix == ".whl" else _bounded(path)
    except (OSError, *_DAMAGE) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it is cut short"
        raise WeightsError(f"{path}: cannot be read ({reason}); {HOW_TO_GET}") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256 and (path.suffix == ".whl" or path == _installed()):
        raise WeightsError(f"{path}: its weights are not the published ones (SHA-256 {digest}); {HOW_TO_GET}")
    try:
        tensors = parse_torch_file(content, str(path))
    except CheckpointError as error:
        raise WeightsError(str(error)) from None
    config = DistillMOSConfig()
    shapes = _shapes(config)
    variables = to_variables(shapes, tensor_names(shapes, NAMES, "Distill-MOS"), tensors, str(path), "Distill-MOS")
    return DistillMOSWeights(config, variables, Source(Path(MEMBER).name, digest))


def to_published(config: DistillMOSConfig, variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of the whole network under their published names; the inverse of reading, bit for bit."""
    shapes, flat = _shapes(config), flatten_dict(variables, sep="/")
    return to_tensors(shapes, tensor_names(shapes, NAMES, "Distill-MOS"), flat)


def find_distill_mos() -> Path:
    """The checkpoint of the installed package `distillmos`.

    Raises:
        WeightsError: it is not installed; the message says how to get it.
    """
    path = _installed()
    if path is None or not path.is_file():
        raise WeightsError(f"{NAME}: the package `distillmos`, which carries the weights, is not there; {HOW_TO_GET}")
    return path


def _installed() -> Path | None:
    # Found, not imported: a package of the top level is not executed for this.
    spec = find_spec("distillmos")
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]).parent / MEMBER if places else None


def _recognises(path: Path) -> bool:
    if path.suffix == ".whl":
        return path.name.startswith("distillmos-")
    return path.is_file() and path.name.startswith("distill_mos") and path.suffix in (".pt", ".pth")


def _from_wheel(path: Path) -> bytes:
    with zipfile.ZipFile(path) as wheel:
        if wheel.getinfo(MEMBER).file_size != SIZE:
            raise WeightsError(f"{path}: its {MEMBER} has another size than the published one; {HOW_TO_GET}")
        with wheel.open(MEMBER) as file:
            return file.read(SIZE + 1)


def _bounded(path: Path) -> bytes:
    """The content of a checkpoint, which cannot be much larger than the published one."""
    with path.open("rb") as file:
        content = file.read(2 * SIZE)
    if len(content) == 2 * SIZE:
        raise WeightsError(f"{path}: has more bytes than a checkpoint of Distill-MOS, which has {SIZE:,}")
    return content


@cache
def _shapes(config: DistillMOSConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape of every variable of the whole network, by path."""
    # Imported here because a reader is asked whether it knows a file before anything is computed.
    from aasist_jax.models.ssl.encoders.distill_mos.network import DistillMOS

    waves = jax.ShapeDtypeStruct((1, config.shortest), jnp.float32)
    variables: Any = jax.eval_shape(DistillMOS(config).init, jax.random.key(0), waves)
    return flatten_dict({kind: variables[kind] for kind in ("params", "batch_stats")}, sep="/")


def _read(path: Path) -> PretrainedEncoder:
    config, variables, source = read_distill_mos(path)
    # The prediction of quality is left out.
    return PretrainedEncoder(config, {kind: tree["encoder"] for kind, tree in variables.items()}, source)


READER = Reader(
    reads="the wheel of distillmos, or its distill_mos_v7.pt",
    recognises=_recognises,
    read=_read,
    names={NAME: find_distill_mos},
)
