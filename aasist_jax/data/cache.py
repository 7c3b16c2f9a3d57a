"""Decoded clips in one memory-mapped file, for data sets that are read many times over."""

import contextlib
import json
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from jaxtyping import Float32, Int16

from aasist_jax.audio.load import load_audio
from aasist_jax.data.fingerprint import fingerprint
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import AudioError, DataError
from aasist_jax.runtime.files import write_text
from aasist_jax.runtime.progress import with_progress

FORMAT = "aasist_jax clips 1"
CHUNK = 256
"""Clips decoded before they are written: bounds the memory that a build takes."""


class ClipCache:
    """Random access to the decoded clips of one list of utterances.

    Clips are 16-bit, mono, 16 kHz: exact for sources of that kind (all of ASVspoof). Other sources lose what
    rounding to 16 bits takes, at most 2**-16, and whatever exceeds full scale is clipped. Pickles as its path,
    so that each worker process maps the file anew and all share its pages.
    """

    def __init__(self, data: Path, offsets: Sequence[int]):
        self._data = data
        self._offsets = list(offsets)
        self._samples = np.memmap(data, dtype="<i2", mode="r")

    def __len__(self) -> int:
        """Count of clips."""
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> Float32[np.ndarray, "samples"]:
        """The samples of clip `index` as `load_audio` gives them, in [-1, 1)."""
        clip = self._samples[self._offsets[index] : self._offsets[index + 1]]
        return np.asarray(clip, np.float32) / np.float32(32768)

    def __reduce__(self) -> tuple[type["ClipCache"], tuple[Path, list[int]]]:
        return ClipCache, (self._data, self._offsets)


def open_cache(folder: Path, utterances: Sequence[Utterance], *, workers: int | None = None) -> ClipCache:
    """Open the cache of these clips under `folder`, building it first where it is missing or damaged.

    A cache belongs to ids, labels, paths, sizes and modification times: any change builds another. Its size and
    checksum are verified here. Processes may build at once: each writes a file of its own, and an index that
    names one of them appears whole.

    Args:
        folder: created where needed; holds caches of several lists side by side.
        utterances: the clips, in the order of their positions in the cache.
        workers: decoding threads (default: one a core).

    Raises:
        DataError: a clip is missing or cannot be decoded; the disk is full.
    """
    key = fingerprint(utterances, exact=True)
    index_path = folder / f"{key[:32]}.json"
    cache = _open_valid(index_path, key, len(utterances))
    if cache is not None:
        return cache
    stale = _index(index_path).get("data")
    data = folder / f"{key[:32]}-{uuid4().hex}.int16"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        index = {"format": FORMAT, "fingerprint": key, "data": data.name, **_write(data, utterances, workers)}
        write_text(index_path, json.dumps(index))
    except BaseException as error:
        with contextlib.suppress(OSError):
            data.unlink()
        if isinstance(error, OSError):
            raise DataError(f"{folder}: no cache can be written ({error.strerror}); choose another folder") from error
        raise
    if isinstance(stale, str) and Path(stale).name == stale:
        (folder / stale).unlink(missing_ok=True)
    return ClipCache(data, index["offsets"])


def _write(data: Path, utterances: Sequence[Utterance], workers: int | None) -> dict[str, Any]:
    """Decode every clip into `data`; return the offsets and the checksum for the index."""
    offsets = [0]
    checksum = 0
    with data.open("xb") as file, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        chunks = (utterances[start : start + CHUNK] for start in range(0, len(utterances), CHUNK))
        clips = (clip for chunk in chunks for clip in pool.map(_decode, chunk))
        for clip in with_progress(clips, description="Caching clips", total=len(utterances)):
            raw = clip.tobytes()
            file.write(raw)
            checksum = zlib.crc32(raw, checksum)
            offsets.append(offsets[-1] + clip.size)
        file.flush()
        os.fsync(file.fileno())
    return {"offsets": offsets, "crc32": checksum}


def _decode(utterance: Utterance) -> Int16[np.ndarray, "samples"]:
    try:
        wave = load_audio(utterance.path)
    except AudioError as error:
        raise DataError(f"{utterance.origin}: {error}") from error
    return np.clip(np.rint(wave * np.float32(32768)), -32768, 32767).astype("<i2")


def _index(path: Path) -> dict[str, Any]:
    """What the index says, or nothing where it is missing or damaged."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def _open_valid(path: Path, key: str, count: int) -> ClipCache | None:
    """The cache that the index at `path` names, if every check holds."""
    index = _index(path)
    if index.get("format") != FORMAT or index.get("fingerprint") != key:
        return None
    data = path.parent / index["data"]
    offsets = index["offsets"]
    if len(offsets) != count + 1 or not data.is_file() or data.stat().st_size != 2 * offsets[-1]:
        return None
    checksum = 0
    with data.open("rb") as file:
        while block := file.read(1 << 24):
            checksum = zlib.crc32(block, checksum)
    return ClipCache(data, offsets) if checksum == index["crc32"] else None
