"""Features of clips in a file on disk: each is computed once, and found again by every later run that needs it.

Two files belong together: `KEY.rows` has a row of numbers of one size after the other, and `KEY.index` a line of JSON
for each: its name, the valid samples that it was computed from, and the CRC-32 of its bytes. A line is written after
its row has reached the disk, so that what is listed is complete at any moment at which a process may be killed.
"""

import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from aasist_jax.errors import DataError
from aasist_jax.runtime.files import locked

FORMAT = "aasist_jax features 1"

Computed = tuple[Float[np.ndarray, "batch ..."], Int[np.ndarray, " batch"]]
"""Features of some clips, and the valid samples of each."""


@dataclass(frozen=True)
class StoredFeatures:
    """Features of a list of clips.

    Attributes:
        rows: the mapped file, (stored rows, numbers).
        positions: int (clips,), the row of each clip.
        lengths: int32 (clips,), the valid samples that each was computed from.
        shape: of the features of a clip, which a row holds one after the other.
    """

    rows: Float[np.ndarray, "stored numbers"]
    positions: Int[np.ndarray, " clips"]
    lengths: Int[np.ndarray, " clips"]
    shape: tuple[int, ...]


def stored_features(
    folder: Path, key: str, dtype: str, names: Sequence[str], compute: Callable[[list[int]], Iterator[Computed]]
) -> StoredFeatures:
    """Find the features of clips; compute and store those that are not there.

    One process at a time adds to a file; another that needs the same one waits for it.

    Args:
        folder: made if needed; may hold features of many kinds.
        key: of the file; it must differ wherever the same name could stand for other features.
        dtype: floating-point type that they are stored in.
        names: of the clips; those of the same name have the same features.
        compute: given positions in `names`, gives their features in this order, batch by batch, all of one shape.

    Raises:
        DataError: the folder cannot be written, or features are not finite in `dtype`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{key}.lock", f"{folder}: waiting for another run, which computes the same features"):
            file = _FeatureFile(folder / key, dtype)
            file.check(names)
            missing = list({name: i for i, name in enumerate(names) if name not in file.found}.values())
            at = 0
            for features, lengths in compute(missing) if missing else ():
                file.add([names[i] for i in missing[at : at + len(lengths)]], features, lengths)
                at += len(lengths)
    except OSError as error:
        raise DataError(f"{folder}: no features can be stored ({error.strerror}); choose another folder") from error
    found = [file.found[name] for name in names]
    positions, lengths = (np.array(column, np.int32) for column in zip(*found, strict=True))
    return StoredFeatures(file.mapped(), positions, lengths, file.shape)


class _FeatureFile:
    """The two files, and what is in them.

    Attributes:
        shape: of the features of a clip; empty while there are none.
        found: position and valid samples of each row by its name.
    """

    def __init__(self, stem: Path, dtype: str) -> None:
        self._rows, self._index = stem.with_name(stem.name + ".rows"), stem.with_name(stem.name + ".index")
        self._dtype = np.dtype(dtype)
        self.shape: tuple[int, ...] = ()
        self.found: dict[str, tuple[int, int]] = {}
        self._checksums: list[int] = []
        lines = self._index.read_bytes().splitlines(keepends=True) if self._index.exists() else []
        good = 0
        for line in lines:
            if not self._understands(line):
                break
            good += len(line)
        if good < sum(map(len, lines)):
            # The end of what a killed process wrote, or damage: what is left is computed again.
            os.truncate(self._index, good)

    def _understands(self, line: bytes) -> bool:
        """Take a line of the index up; False for one that is not complete or not of this file."""
        try:
            entry = json.loads(line)
            if isinstance(entry, dict):
                is_ours = (entry["format"], entry["dtype"]) == (FORMAT, self._dtype.name) and line.endswith(b"\n")
                self.shape = tuple(entry["shape"]) if is_ours else ()
                return is_ours
            name, length, checksum = entry
        except (ValueError, KeyError, TypeError):
            return False
        if not line.endswith(b"\n") or not self.shape:
            return False
        self.found[name] = len(self._checksums), length
        self._checksums.append(checksum)
        return True

    def check(self, names: Sequence[str]) -> None:
        """Forget those of the rows whose bytes are not as they were written."""
        if not self._checksums:
            return
        with self._rows.open("rb") as file:
            for name in sorted(set(names) & self.found.keys(), key=self.found.__getitem__):
                position = self.found[name][0]
                file.seek(position * self._row_bytes)
                if zlib.crc32(file.read(self._row_bytes)) != self._checksums[position]:
                    del self.found[name]

    def add(self, names: Sequence[str], features: Float[np.ndarray, "batch ..."], lengths: Any) -> None:
        """Write rows, and then the lines that name them."""
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(features, self._dtype)
        bad = [name for name, row in zip(names, stored, strict=True) if not np.isfinite(row).all()]
        if bad:
            raise DataError(f"features of clip {bad[0]}: not finite as {self._dtype}; check encoder and clip")
        lines: list[Any] = []
        if not self.shape:
            self.shape = stored.shape[1:]
            lines.append({"format": FORMAT, "dtype": self._dtype.name, "shape": self.shape})
        if stored.shape[1:] != self.shape:
            raise ValueError(f"features: expected the shape {self.shape}, got {stored.shape[1:]}")
        with self._rows.open("r+b" if self._rows.exists() else "w+b") as file:
            file.seek(len(self._checksums) * self._row_bytes)
            file.write(stored.tobytes())
            file.flush()
            os.fsync(file.fileno())
        for name, row, length in zip(names, stored, lengths, strict=True):
            self.found[name] = len(self._checksums), int(length)
            self._checksums.append(zlib.crc32(row.tobytes()))
            lines.append([name, int(length), self._checksums[-1]])
        with self._index.open("ab") as index:
            index.write("".join(json.dumps(line) + "\n" for line in lines).encode())

    def mapped(self) -> Float[np.ndarray, "stored numbers"]:
        """The rows, read as they are needed."""
        shape = (len(self._checksums), math.prod(self.shape))
        return np.memmap(self._rows, self._dtype, "r", shape=shape)

    @property
    def _row_bytes(self) -> int:
        return math.prod(self.shape) * self._dtype.itemsize
