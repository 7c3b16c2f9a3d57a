"""The allowed content of a checkpoint's pickle: opcodes, globals, and records for the values read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from aasist_jax.errors import CheckpointError

MAX_DEPTH = 32
"""The deepest allowed nesting of containers."""


STORAGE_DTYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
    "ComplexFloatStorage": np.dtype("<c8"),
    "ComplexDoubleStorage": np.dtype("<c16"),
}
"""The supported storage classes of the module `torch`, and the NumPy type of each in a file."""


class Opcode:
    """The opcodes of pickle protocol 2 that a checkpoint of tensors needs; every other one is refused."""

    MARK = ord("(")
    STOP = ord(".")
    BINFLOAT = ord("G")
    BININT = ord("J")
    BININT1 = ord("K")
    BININT2 = ord("M")
    NONE = ord("N")
    BINPERSID = ord("Q")
    REDUCE = ord("R")
    BINUNICODE = ord("X")
    APPEND = ord("a")
    BUILD = ord("b")
    GLOBAL = ord("c")
    APPENDS = ord("e")
    BINGET = ord("h")
    LONG_BINGET = ord("j")
    EMPTY_LIST = ord("]")
    BINPUT = ord("q")
    LONG_BINPUT = ord("r")
    SETITEM = ord("s")
    TUPLE = ord("t")
    EMPTY_TUPLE = ord(")")
    SETITEMS = ord("u")
    EMPTY_DICT = ord("}")
    PROTO = 0x80
    TUPLE1 = 0x85
    TUPLE2 = 0x86
    TUPLE3 = 0x87
    NEWTRUE = 0x88
    NEWFALSE = 0x89


@dataclass(frozen=True, slots=True)
class Global:
    """A name from the table of allowed globals. It is only a record; nothing is imported."""

    module: str
    name: str


REBUILD_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
ORDERED_DICT = Global("collections", "OrderedDict")
ALLOWED_GLOBALS = {REBUILD_TENSOR, ORDERED_DICT} | {Global("torch", name) for name in STORAGE_DTYPES}


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of `elements` numbers of type `dtype` in the archive member `data/<key>`."""

    dtype: np.dtype
    key: str
    elements: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A strided view of a storage, not yet checked against its bounds. Offset and strides are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(slots=True, eq=False, repr=False)
class Container:
    """A tuple, list, dict or OrderedDict (`kind`), with its nesting depth."""

    kind: str
    depth: int = 1
    sealed: bool = False

    def admit(self, value: Value) -> None:
        """Check that `value` may become part of this container; raise `CheckpointError` if not."""
        if isinstance(value, Container):
            value.sealed = True
            self.depth = max(self.depth, value.depth + 1)
            if self.depth > MAX_DEPTH:
                raise CheckpointError(f"its pickle nests deeper than {MAX_DEPTH} levels")
        if self.sealed:
            raise CheckpointError(f"its pickle changes a {self.kind} that is already part of another object")


@dataclass(slots=True, eq=False, repr=False)
class Sequence(Container):
    """A tuple or a list."""

    items: list[Value] = field(default_factory=list)


@dataclass(slots=True, eq=False, repr=False)
class Dictionary(Container):
    """A dict or an OrderedDict."""

    entries: dict[str | int, Value] = field(default_factory=dict)


Value: TypeAlias = bool | int | float | str | Global | Storage | Tensor | Sequence | Dictionary | None


def kind_of(value: Value) -> str:
    """The kind of `value`, for messages."""
    if isinstance(value, Container):
        return value.kind
    return "None" if value is None else type(value).__name__
