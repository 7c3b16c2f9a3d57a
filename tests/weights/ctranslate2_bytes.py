"""Writes CTranslate2's `model.bin`, of every version and type, for tests of the reader."""

import struct
from collections.abc import Mapping

import numpy as np

TYPE_NUMBERS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}


def text(value: str) -> bytes:
    data = value.encode() + b"\0"
    return struct.pack("<H", len(data)) + data


def variable(name: str, array: np.ndarray, version: int = 6) -> bytes:
    """One variable; an array of uint16 stands for the bits of bfloat16."""
    kind = "bfloat16" if array.dtype == np.uint16 else array.dtype.name
    if version >= 4:
        sizes = struct.pack("<BI", TYPE_NUMBERS[kind], array.nbytes)
    else:
        sizes = struct.pack("<BI", array.itemsize, array.size)
    shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
    return text(name) + shape + sizes + array.astype(array.dtype.newbyteorder("<")).tobytes()


def model(
    variables: Mapping[str, np.ndarray],
    aliases: Mapping[str, str] | None = None,
    version: int = 6,
    spec: str = "WhisperSpec",
    revision: int = 3,
) -> bytes:
    """A whole file."""
    parts = [struct.pack("<I", version)]
    if version >= 2:
        parts.append(text(spec) + struct.pack("<I", revision))
    parts.append(struct.pack("<I", len(variables)))
    parts += [variable(name, array, version) for name, array in variables.items()]
    if version >= 3:
        parts.append(struct.pack("<I", len(aliases or {})))
        parts += [text(alias) + text(name) for alias, name in (aliases or {}).items()]
    return b"".join(parts)
