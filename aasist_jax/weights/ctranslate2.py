"""Reads the file of weights of CTranslate2, `model.bin`, without CTranslate2: its variables as NumPy arrays.

The file has no checksum. Every size in it is compared with the bytes that are left before anything is allocated, so
that a few bytes cannot ask for gigabytes. Versions 1 to 6 are read; all numbers are little-endian.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import stat
import struct
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np

from aasist_jax.errors import CheckpointError

VERSIONS = range(1, 7)
MAX_RANK = 8
MAX_SHARING, FREE_SHARING = 4, 1 << 20
"""Names may stand for this many times the values that are read, and for that many more: enough for equal vectors of all
layers, which the converter keeps once, but not for a small file that is a large model."""

_TYPES = ("<f4", "i1", "<i2", "<i4", "<f2", "bfloat16")
"""The types by their number, from version 4 on."""

_TYPES_BY_SIZE = {4: "<f4", 2: "<i2", 1: "i1"}
"""The types by the bytes of an item, before version 4."""

_SCALE = "_scale"
_LONGEST_SPEC = 64
_SMALLEST_VARIABLE, _SMALLEST_ALIAS = 10, 4
"""Bytes that a variable, or an alias, takes at least."""

_WAY_OUT = "fetch the file anew, or convert the model again with CTranslate2's converter"


@dataclass(frozen=True)
class CTranslate2Model:
    """The content of a file.

    Attributes:
        version: of the binary format.
        spec: the kind of model, such as `WhisperSpec`; '' before version 2.
        revision: of the kind.
        names: all variables and aliases, those that were not read too.
        tensors: the variables that were asked for, by name, without the scales of quantised ones, which are
            floating-point again. An alias and what it stands for are one array, which is not to be written to.
    """

    version: int
    spec: str
    revision: int
    names: frozenset[str]
    tensors: MappingProxyType[str, np.ndarray]


@dataclass(frozen=True)
class _Variable:
    """Where a variable lies in the file."""

    type: str
    shape: tuple[int, ...]
    start: int
    size: int


def spec_of(path: Path) -> str:
    """The kind of model that a file says to hold, from its first bytes alone; '' for a file of another format."""
    try:
        with path.open("rb") as file:
            head = file.read(_LONGEST_SPEC + 6)
    except OSError:
        return ""
    length = int.from_bytes(head[4:6], "little")
    text = head[6 : 6 + length]
    is_spec = len(text) == length > 1 and re.fullmatch(rb"[A-Za-z0-9]+\0", text)
    # Of a version that is not known too, so that reading can tell so.
    return text[:-1].decode("ascii") if is_spec and 2 <= int.from_bytes(head[:4], "little") < 256 else ""


def read_ctranslate2(parts: Sequence[str | os.PathLike[str]], prefix: str = "") -> CTranslate2Model:
    """Read the variables and aliases whose names begin with `prefix`.

    Args:
        parts: the file, or the parts that it has been cut into, in order.
        prefix: such as `encoder/`; '' reads all.

    Returns:
        The arrays are float32 or float16 where the file says so. bfloat16 becomes float32, which holds it exactly.
        An int8 or int16 array that has a scale becomes float64 q / scale, where int8 has a scale for each row and int16
        one for all; so do aliases, whose scale is that of what they stand for.

    Raises:
        CheckpointError: the file is missing, damaged, or of a version that is not known; and no other error.
    """
    shown = " + ".join(repr(os.fspath(part)) for part in parts)
    try:
        with contextlib.ExitStack() as stack:
            return _parse(_Bytes([stack.enter_context(_opened(Path(part))) for part in parts]), prefix)
    except CheckpointError as error:
        raise CheckpointError(f"{shown} cannot be read: {error}; {_WAY_OUT}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except MemoryError:
        raise CheckpointError(f"{shown} cannot be read: it needs more memory than there is") from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if not stat.S_ISREG(path.stat().st_mode):
        raise CheckpointError(f"{path.name!a} is not a file")
    with path.open("rb") as file:
        yield file


class _Bytes:
    """The bytes of the parts of a file, one after the other, read from a position that moves on."""

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        self.files = files
        self.sizes = [os.fstat(file.fileno()).st_size for file in files]
        self.position = 0

    @property
    def left(self) -> int:
        return sum(self.sizes) - self.position

    def read(self, count: int) -> bytes:
        """Read exactly `count` bytes."""
        start = self.position
        self.advance(count)
        pieces = []
        for file, size in zip(self.files, self.sizes, strict=True):
            if count and start < size:
                file.seek(start)
                piece = file.read(min(count, size - start))
                if len(piece) < min(count, size - start):
                    raise CheckpointError("it became shorter while it was read")
                pieces.append(piece)
                count -= len(piece)
            start = max(0, start - size)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def advance(self, count: int) -> None:
        """Go on by `count` bytes, which must be there."""
        if count > self.left:
            raise CheckpointError(f"it is cut short: {count} bytes are missing or cut off at byte {self.position}")
        self.position += count

    def number(self, width: int) -> int:
        return int.from_bytes(self.read(width), "little")

    def text(self, what: str) -> str:
        """Read a text: its length, with the NUL at its end, in two bytes, then its bytes."""
        data = self.read(self.number(2))
        if data[-1:] != b"\0" or b"\0" in data[:-1]:
            raise CheckpointError(f"{what} at byte {self.position} does not end with its only NUL")
        try:
            text = data[:-1].decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f"{what} at byte {self.position} is not UTF-8") from None
        return text

    def count(self, what: str, smallest: int) -> int:
        """Read how many things follow, if that many can."""
        count = self.number(4)
        if count * smallest > self.left:
            raise CheckpointError(
                f"it says that {count} {what} follow, more than its {self.left} further bytes can hold"
            )
        return count


def _parse(data: _Bytes, prefix: str) -> CTranslate2Model:
    version = data.number(4)
    if version not in VERSIONS:
        raise CheckpointError(f"its format version is {version}; known are {VERSIONS[0]} to {VERSIONS[-1]}")
    spec, revision = (data.text("the kind of model"), data.number(4)) if version >= 2 else ("", 1)
    variables: dict[str, _Variable] = {}
    for _ in range(data.count("variables", _SMALLEST_VARIABLE)):
        name, variable = _variable(data, version)
        if name in variables:
            raise CheckpointError(f"it has two variables named {_shown(name)}")
        variables[name] = variable
    aliases = _aliases(data, variables) if version >= 3 else {}
    if data.left:
        raise CheckpointError(f"it has {data.left} bytes after its end")
    targets = {name: name for name in variables} | aliases
    wanted = [name for name in targets if name.startswith(prefix) and not _is_scale(name, targets)]
    # Each variable is read once, however many aliases it has. What is made of the arrays may be made for each alias.
    read = dict.fromkeys(targets[name] for name in wanted)
    values = {name: math.prod(variables[name].shape) for name in read}
    if sum(values[targets[name]] for name in wanted) > MAX_SHARING * sum(values.values()) + FREE_SHARING:
        raise CheckpointError(f"its aliases stand for more than {MAX_SHARING} times the values that it holds")
    arrays = {name: _tensor(data, name, variables) for name in read}
    tensors = MappingProxyType({name: arrays[targets[name]] for name in wanted})
    return CTranslate2Model(version, spec, revision, frozenset(targets), tensors)


def _is_scale(name: str, names: Container[str]) -> bool:
    return name.endswith(_SCALE) and name.removesuffix(_SCALE) in names


def _variable(data: _Bytes, version: int) -> tuple[str, _Variable]:
    name = data.text("a name")
    shown = f"variable {_shown(name)}"
    rank = data.number(1)
    if rank > MAX_RANK:
        raise CheckpointError(f"{shown} has {rank} dimensions, more than {MAX_RANK}")
    shape = struct.unpack(f"<{rank}I", data.read(4 * rank))
    number = data.number(1)
    if version >= 4:
        if number >= len(_TYPES):
            raise CheckpointError(f"{shown} is of type number {number}; known are 0 to {len(_TYPES) - 1}")
        kind, size = _TYPES[number], data.number(4)
    else:
        if number not in _TYPES_BY_SIZE:
            raise CheckpointError(f"{shown} has items of {number} bytes; known are 1, 2 and 4")
        kind, size = _TYPES_BY_SIZE[number], number * data.number(4)
    expected = math.prod(shape) * _itemsize(kind)
    if size != expected:
        raise CheckpointError(f"{shown} of shape {shape} has {size} bytes where its shape takes {expected}")
    start = data.position
    data.advance(size)
    return name, _Variable(kind, shape, start, size)


def _aliases(data: _Bytes, variables: dict[str, _Variable]) -> dict[str, str]:
    """The name of the variable that each alias stands for, be it through another alias."""
    aliases: dict[str, str] = {}
    for _ in range(data.count("aliases", _SMALLEST_ALIAS)):
        alias, target = data.text("an alias"), data.text("the target of an alias")
        if alias in variables or alias in aliases:
            raise CheckpointError(f"its alias {_shown(alias)} has the name of something else")
        target = aliases.get(target, target)
        if target not in variables:
            raise CheckpointError(f"its alias {_shown(alias)} stands for {_shown(target)}, which is not there")
        aliases[alias] = target
    return aliases


def _tensor(data: _Bytes, name: str, variables: dict[str, _Variable]) -> np.ndarray:
    """Read a variable, and undo its quantisation."""
    stored = _stored(data, variables[name])
    scale_name = name + _SCALE
    if stored.dtype not in (np.int8, np.int16) or scale_name not in variables:
        if stored.dtype == np.int8 and stored.ndim:
            raise CheckpointError(f"variable {_shown(name)} is of int8, and has no scale")
        return stored
    scale = _stored(data, variables[scale_name]).astype(np.float64)
    if scale.shape not in ((), (1,), stored.shape[:1]):
        raise CheckpointError(
            f"variable {_shown(scale_name)} has shape {scale.shape}, not one value or one for each row"
        )
    if not (np.isfinite(scale) & (scale != 0)).all():
        raise CheckpointError(f"variable {_shown(scale_name)} has a scale that is 0 or not finite")
    by_row = scale.reshape(-1, *(1,) * (stored.ndim - 1)) if stored.ndim else scale.reshape(())
    restored: np.ndarray = stored / by_row
    restored.flags.writeable = False
    return restored


def _stored(data: _Bytes, variable: _Variable) -> np.ndarray:
    data.position = variable.start
    content = data.read(variable.size)
    if variable.type == "bfloat16":
        # The upper half of a float32.
        values = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(content, variable.type)
    array = values.reshape(variable.shape)
    array.flags.writeable = False
    return array


def _itemsize(kind: str) -> int:
    return 2 if kind == "bfloat16" else np.dtype(kind).itemsize


def _shown(name: str) -> str:
    return f"{name[:80]!a}"
