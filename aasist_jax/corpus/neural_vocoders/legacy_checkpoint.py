"""Reads checkpoints in the form that PyTorch wrote before version 1.6: pickles one after another, then the numbers."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from aasist_jax.errors import CheckpointError

_MAGIC = 0x1950A86A20F9469CFC6C
_TYPES = {"FloatStorage": np.float32, "DoubleStorage": np.float64, "LongStorage": np.int64}


def read_legacy_checkpoint(path: Path, entry: str) -> dict[str, np.ndarray]:
    """The tensors of one entry of a checkpoint, such as "generator".

    Python's own unpickler reads every pickle of the file, with everything refused that is not in the fixed table of
    this module, so that nothing in it is executed. Its work and memory are not limited all the same, so the caller
    checks that the file is the one that is meant, by its SHA-256.

    Raises:
        CheckpointError: it is no such checkpoint, or has no such entry.
    """
    with path.open("rb") as file:
        try:
            if _Reader(file).load() != _MAGIC:
                raise CheckpointError(f"{path.name}: not a checkpoint as PyTorch wrote them before version 1.6")
            # The version of the format, and the sizes of C's numbers on the machine that wrote it.
            _Reader(file).load(), _Reader(file).load()
            reader = _Reader(file)
            tensors = reader.load()[entry]
            for key in _Reader(file).load():
                storage = reader.storages[key]
                count = int.from_bytes(file.read(8), "little")
                storage.append(np.frombuffer(file.read(count * storage[0].itemsize), storage[0]))
        except (pickle.UnpicklingError, KeyError, EOFError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path.name}: damaged, or without {entry!r} ({error})") from None
    return {name: build() for name, build in tensors.items()}


class _Reader(pickle.Unpickler):
    """Refuses all classes but those of tensors; makes a function of each tensor, since the numbers come after all."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, list[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _TYPES:
            return np.dtype(_TYPES[name])
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, reference: Any) -> list[Any]:
        _, dtype, key, *_ = reference
        return self.storages.setdefault(key, [dtype])


def _tensor(
    storage: list[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> Callable[[], np.ndarray]:
    def build() -> np.ndarray:
        dtype, numbers = storage
        view = np.lib.stride_tricks.as_strided(
            numbers[offset:], shape, [step * dtype.itemsize for step in strides], writeable=False
        )
        return view.copy()

    return build
