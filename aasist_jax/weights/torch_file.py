"""Reads and writes PyTorch checkpoints without PyTorch: a state dict as NumPy arrays, and back.

Reading never runs code from the file: `torch_zip` checks the archive, `torch_pickle` interprets its pickle as data, and
this module extracts the arrays from the storages after checking their bounds.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aasist_jax.errors import CheckpointError
from aasist_jax.runtime.files import replacing
from aasist_jax.weights.pickle_values import STORAGE_DTYPES, Dictionary, Storage, Tensor, Value, kind_of
from aasist_jax.weights.pickle_writer import dump_pickle
from aasist_jax.weights.torch_pickle import MAX_DIMENSIONS, MAX_PICKLE_BYTES, load_pickle
from aasist_jax.weights.torch_zip import MAX_FILE_BYTES, read_members, write_members

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""The keys under which training checkpoints store their state dict."""

MAX_SHARING = 4
"""How many times the tensors may cover one storage: enough for tied weights, but not for a decompression bomb."""

_WAY_OUT = "fetch the file anew, or re-save it in PyTorch with torch.save(model.state_dict(), path)"


@dataclass(frozen=True)
class TorchCheckpoint:
    """The content of a training checkpoint.

    Attributes:
        tensors: the state dict: names to arrays, in the file's order.
        settings: the dictionaries beside the state dict by their keys, such as the sizes of the model; of each only
            the numbers and texts.
    """

    tensors: dict[str, np.ndarray]
    settings: dict[str, dict[str, int | float | str]]


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The state dict of a PyTorch zip checkpoint: tensor names to arrays, in the file's order.

    The arrays are C-contiguous and own their memory; scalars such as `num_batches_tracked` have shape (). For a
    training checkpoint with a state dict under "state_dict", "model_state_dict" or "model", that state dict is read.
    Tensors may share a storage, up to `MAX_SHARING` times its size; each gets its own copy.

    Raises `CheckpointError`, and no other error, for a file that is missing, damaged, malicious or of another kind.
    """
    with _told_of(path):
        return _parse(_read_bytes(path))


def parse_torch_file(content: bytes, origin: str) -> dict[str, np.ndarray]:
    """The state dict of a checkpoint in memory, by the rules of `read_torch_file`; messages call it `origin`."""
    with _told_of(origin):
        return _parse(content)


@contextlib.contextmanager
def _told_of(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let every failure name the file and the way out."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{os.fspath(path)!r} cannot be read: {error}; {_WAY_OUT}") from None
    except MemoryError:
        raise CheckpointError(f"{os.fspath(path)!r} cannot be read: it needs more memory than there is") from None


def read_torch_checkpoint(path: str | os.PathLike[str]) -> TorchCheckpoint:
    """The state dict of a training checkpoint, as `read_torch_file` reads it, and the settings beside it."""
    with _told_of(path):
        return _parse_checkpoint(_read_bytes(path))


def write_torch_file(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Write `tensors` as an OrderedDict that `torch.load(path, weights_only=True)` reads.

    The same tensors always give the same bytes. The file is written atomically: first under a temporary name in the
    same folder, then renamed.

    Raises `CheckpointError` if there are no tensors, if PyTorch has no storage for a dtype, if a name is not text, or
    if the file cannot be written.
    """
    target = Path(path)
    try:
        with replacing(target) as scratch, scratch.open("wb") as file:
            write_members(file, _members(tensors))
            file.flush()
            os.fsync(file.fileno())
    except CheckpointError as error:
        raise CheckpointError(f"{os.fspath(path)!r} cannot be written: {error}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{os.fspath(path)!r} cannot be written: {reason}; choose a writable folder") from None


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError("it is not a file")
        if status.st_size > MAX_FILE_BYTES:
            raise CheckpointError(f"it has {status.st_size} bytes, more than the limit of {MAX_FILE_BYTES}")
        with open(path, "rb") as file:
            # Read no more than the checked size, even if the file grows in the meantime.
            data = file.read(status.st_size)
    except (OSError, ValueError) as error:
        raise CheckpointError(str(getattr(error, "strerror", None) or error)) from None
    if not data:
        raise CheckpointError("it is empty")
    if data[:1] == b"\x80":
        raise CheckpointError("it is a bare pickle, as PyTorch saved them before 1.6, which is not read")
    return data


def _parse(archive: bytes) -> dict[str, np.ndarray]:
    return _parse_checkpoint(archive).tensors


def _parse_checkpoint(archive: bytes) -> TorchCheckpoint:
    members = read_members(archive)
    _check_members(members)
    value, storages = load_pickle(members["data.pkl"])
    tensors = _state_dict(value)
    _check_storages(storages, members)
    _check_sharing(tensors)
    arrays = {name: _array(name, tensor, members[_member(tensor.storage)]) for name, tensor in tensors.items()}
    return TorchCheckpoint(arrays, _settings(value))


def _settings(value: Value) -> dict[str, dict[str, int | float | str]]:
    """The plain values of the dictionaries beside the state dict."""
    beside = value.entries if isinstance(value, Dictionary) else {}
    return {
        key: {str(name): entry for name, entry in group.entries.items() if isinstance(entry, int | float | str)}
        for key, group in beside.items()
        if isinstance(key, str) and key not in WRAPPERS and isinstance(group, Dictionary)
    }


def _member(storage: Storage) -> str:
    return f"data/{storage.key}"


def _check_members(members: dict[str, memoryview]) -> None:
    for name in members:
        # Newer PyTorch versions add members with a leading dot for their own use; they are ignored.
        if name not in ("data.pkl", "version", "byteorder") and not name.startswith((".", "data/")):
            raise CheckpointError(
                f"its member {name[:80]!a} is not part of a checkpoint of tensors (a TorchScript program?)"
            )
    if "data.pkl" not in members:
        raise CheckpointError("it has no data.pkl")
    if bytes(members.get("version", b"")) != b"3\n":
        raise CheckpointError("its format version is missing or not 3")
    if bytes(members.get("byteorder", b"little")) != b"little":
        raise CheckpointError("its numbers are not in little-endian byte order")


def _state_dict(value: Value) -> dict[str, Tensor]:
    """The tensors of a state dict, or of the one state dict inside a training checkpoint."""
    if not isinstance(value, Dictionary):
        raise CheckpointError(f"it holds a {kind_of(value)}, not a state dict")
    inner = [value.entries[key] for key in WRAPPERS if isinstance(value.entries.get(key), Dictionary)]
    if len(inner) > 1:
        raise CheckpointError(f"it holds more than one of {', '.join(WRAPPERS)}")
    entries = inner[0].entries if inner and isinstance(inner[0], Dictionary) else value.entries
    tensors = {}
    for name, tensor in entries.items():
        if not isinstance(name, str):
            raise CheckpointError("its state dict has a number for a name")
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"its entry {name[:80]!a} is a {kind_of(tensor)}, not a tensor")
        tensors[name] = tensor
    if not tensors:
        raise CheckpointError("it holds no tensors")
    return tensors


def _check_storages(storages: dict[str, Storage], members: dict[str, memoryview]) -> None:
    for storage in storages.values():
        if _member(storage) not in members:
            raise CheckpointError(f"storage {storage.key} is missing")
        size, expected = len(members[_member(storage)]), storage.elements * storage.dtype.itemsize
        if size != expected:
            raise CheckpointError(f"storage {storage.key} has {size} bytes where its pickle says {expected}")
    declared = {_member(storage) for storage in storages.values()}
    for name in members:
        if name.startswith("data/") and name not in declared:
            raise CheckpointError(f"its member {name[:80]!a} belongs to no tensor")


def _check_sharing(tensors: dict[str, Tensor]) -> None:
    """Refuse a file whose arrays would take far more memory than its storages."""
    covered: dict[str, int] = {}
    for tensor in tensors.values():
        storage = tensor.storage
        covered[storage.key] = covered.get(storage.key, 0) + math.prod(tensor.shape)
        if covered[storage.key] > MAX_SHARING * storage.elements:
            raise CheckpointError(f"its tensors cover storage {storage.key} more than {MAX_SHARING} times over")


def _array(name: str, tensor: Tensor, data: memoryview) -> np.ndarray:
    storage, shape = tensor.storage, tensor.shape
    dtype = storage.dtype.newbyteorder("=")
    shown = f"tensor {name[:80]!a}"
    elements = math.prod(shape)
    if elements > storage.elements:
        raise CheckpointError(f"{shown} has {elements} elements, its storage only {storage.elements}")
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(shape, tensor.strides, strict=True) if elements
    )
    if last >= storage.elements + (elements == 0):
        raise CheckpointError(f"{shown} reaches beyond its storage")
    if elements == 0:
        # NumPy also limits the product of the sizes that are not zero.
        if math.prod(size for size in shape if size) > MAX_FILE_BYTES:
            raise CheckpointError(f"{shown} is empty, with sizes beyond any bound")
        return np.empty(shape, dtype)
    if storage.dtype == np.bool_ and np.frombuffer(data, np.uint8).max() > 1:
        raise CheckpointError(f"{shown} holds truth values that are neither 0 nor 1")
    itemsize = dtype.itemsize
    # The stride of an axis of size 1 has no effect; PyTorch may store any number for it.
    strides = [itemsize * stride if size > 1 else 0 for size, stride in zip(shape, tensor.strides, strict=True)]
    view = np.ndarray(shape, storage.dtype, data, tensor.offset * itemsize, strides)
    return np.array(view, dtype, order="C", copy=True)


def _members(tensors: Mapping[str, np.ndarray]) -> Iterator[tuple[str, bytes]]:
    """Yield the members of the archive in PyTorch's order, with one storage per tensor."""
    if not tensors:
        raise CheckpointError("there are no tensors to write")
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    records = {}
    for index, (name, array) in enumerate(arrays.items()):
        dtype = array.dtype.newbyteorder("<")
        if dtype not in STORAGE_DTYPES.values():
            raise CheckpointError(f"tensor {name!a} is of type {array.dtype}, which PyTorch lacks: convert it")
        if array.ndim > MAX_DIMENSIONS:
            raise CheckpointError(f"tensor {name!a} has more than {MAX_DIMENSIONS} dimensions: reshape it")
        strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))
        records[name] = Tensor(Storage(dtype, str(index), array.size), 0, array.shape, strides)
    pickled = dump_pickle(records)
    if len(pickled) > MAX_PICKLE_BYTES:
        raise CheckpointError("its names and shapes take more than 8 MiB: write fewer tensors")
    yield "data.pkl", pickled
    yield "byteorder", b"little"
    for name, array in arrays.items():
        storage = records[name].storage
        yield _member(storage), array.astype(storage.dtype, copy=False).tobytes()
    yield "version", b"3\n"
