"""The readers of files that hold a pretrained encoder, and the search for the one that a path or a name needs.

A reader is a file in this folder, found by lying there; it sets `READER`. Nothing in a file of weights is executed.
"""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aasist_jax.errors import WeightsError, nearest
from aasist_jax.models.ssl.encoders import EncoderConfig
from aasist_jax.runtime.members import find_members
from aasist_jax.weights.folder import Source


@dataclass(frozen=True)
class PretrainedEncoder:
    """The content of a file of weights.

    Attributes:
        config: the sizes of the encoder.
        variables: the variables of the module that the kind of `config` builds, NumPy arrays: `{"params": ...}`, and
            the kinds of state that it has, such as `batch_stats`.
        source: the name of the file and its SHA-256.
    """

    config: EncoderConfig
    variables: dict[str, Any]
    source: Source


@dataclass(frozen=True)
class Reader:
    """A reader of one kind of file.

    Attributes:
        reads: what it reads, for messages, such as `a Distill-MOS checkpoint`.
        recognises: whether a path, of an existing file or folder, is of this kind. Decided from its name and a few
            bytes, or the names of its files; it raises nothing for a file of another kind, and reads no large one.
        read: reads it. Raises a `WeightsError` of one line that names the file.
        names: names that may be given in place of a path. The function of a name returns the path, or raises a
            `WeightsError` that says how to get the file.
    """

    reads: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], PretrainedEncoder]
    names: Mapping[str, Callable[[], Path]] = field(default_factory=dict)


@functools.cache
def readers() -> tuple[Reader, ...]:
    """All readers, in the order of their files' names.

    Raises:
        WeightsError: a file beside this one sets no `READER`.
    """
    return tuple(find_members(__name__, "READER", Reader, WeightsError).values())


def is_encoder(path_or_name: str | os.PathLike[str]) -> bool:
    """Whether a reader recognises the path, or the name is that of a known encoder."""
    name, path = os.fspath(path_or_name), Path(path_or_name)
    return _is_name(name) or (path.exists() and any(reader.recognises(path) for reader in readers()))


def read_encoder(path_or_name: str | os.PathLike[str]) -> PretrainedEncoder:
    """Read a pretrained encoder from a file or a folder, or by its name.

    A path that exists is taken as such, even if it is also a name.

    Raises:
        WeightsError: there is no such file or name, no reader recognises it, it is damaged, or a known encoder is not
            installed. The message says what is read, or how to get the file.
    """
    name, path = os.fspath(path_or_name), Path(path_or_name)
    for reader in readers():
        if path.exists() and reader.recognises(path):
            return reader.read(path)
    known = {known: (reader, find) for reader in readers() for known, find in reader.names.items()}
    if path.exists() and name not in known:
        raise WeightsError(f"{name}: not an encoder that is read here: {'; '.join(r.reads for r in readers())}")
    if name not in known:
        raise WeightsError(f"{name}: no such file, nor an encoder of that name; {nearest(name, known)}")
    reader, find = known[name]
    return reader.read(find())


def _is_name(name: str) -> bool:
    return any(name in reader.names for reader in readers())
