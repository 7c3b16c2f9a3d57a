"""The published archive of ASVspoof 2019 LA: unpack what is needed of it, and check what is there."""

import contextlib
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path, PurePosixPath

from aasist_jax.data.layouts.asvspoof2019 import ASVSPOOF2019_LISTS, protocol_path, read_asvspoof2019_la
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import DataError
from aasist_jax.runtime.download import Progress
from aasist_jax.runtime.files import replacing

TRIALS = {"train": 25_380, "dev": 24_844, "eval": 71_237}
"""Clips of each split that the countermeasure protocols list (the flac folders hold some more, for the ASV)."""

_TOP = "LA"
_PROTOCOLS = [protocol_path(Path(), split).as_posix() for split in ASVSPOOF2019_LISTS]
# ASV scores, needed for the t-DCF, and the licence, which wants to travel along.
_TEXTS = re.compile(r"(ASVspoof2019_LA_[a-z_]+/)?[\w.-]+\.txt")
_MOST_MEMBERS = 200_000
_MOST_BYTES = 16 * 2**30
_LARGEST_MEMBER = 64 * 2**20
# FLAC hardly shrinks any more, protocols and scores shrink about tenfold.
_HIGHEST_RATIO = 100
_BLOCK = 1 << 20


def unpack(
    archive: Path | str,
    folder: Path | str,
    *,
    trials: Mapping[str, int] = TRIALS,
    progress: Progress | None = None,
) -> None:
    """Unpack the texts (protocols, ASV scores, licence) and every listed clip of `LA.zip` into a new `folder`.

    All is unpacked into `FOLDER.part`, checked there, and renamed at the end. After an interruption the files
    that lie there whole (same length and CRC-32) are not written again.

    Args:
        archive: the zip file; its members lie under `LA/`.
        folder: does not exist yet.
        trials: how many clips each protocol must list.
        progress: called with the stage "unpack" and the bytes written.

    Raises:
        DataError: the archive is damaged, hostile (paths that lead elsewhere, links, bombs) or not this data
            set; no room; `folder` is there already. Nothing is written outside `FOLDER.part`.
    """
    archive, folder = Path(archive), Path(folder)
    if os.path.lexists(folder):
        raise DataError(f"{folder} is there already; move it away to unpack {archive} anew")
    part = folder.with_name(f"{folder.name}.part")
    try:
        with zipfile.ZipFile(archive) as source:
            members = _members(source, archive)
            _extract(source, _named(members, _PROTOCOLS, archive), part, None)
            texts = [name for name in members if _TEXTS.fullmatch(name)]
            clips = [clip.path.relative_to(part).as_posix() for clip in chain(*_clips(part, trials).values())]
            _extract(source, _named(members, [*texts, *clips], archive), part, progress)
        check(part, trials)
        os.replace(part, folder)
    # All that zipfile raises on damage, by what the damaged bytes claim: no archive or a wrong CRC, broken deflate
    # data, a member cut short, an unheard-of compression method or version, a name that is no UTF-8.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise DataError(f"{archive} is damaged ({error}); remove it and download it again") from error
    except OSError as error:
        raise DataError(f"cannot unpack {archive} into {part}: {error.strerror or error}") from error


def check(folder: Path | str, trials: Mapping[str, int] = TRIALS) -> dict[str, tuple[int, int]]:
    """Make sure that the three protocols are whole and that every clip they list is there and not empty.

    Returns:
        Clips and bona fide clips of each split.

    Raises:
        DataError: a protocol or clips are missing, or a protocol does not list as many clips as `trials` says.
    """
    splits = _clips(Path(folder), trials)
    clips = list(chain(*splits.values()))
    present: set[Path] = set()
    for parent in sorted({clip.path.parent for clip in clips}):
        with contextlib.suppress(FileNotFoundError), os.scandir(parent) as entries:
            present.update(parent / entry.name for entry in entries if entry.is_file() and entry.stat().st_size)
    missing = [clip.path for clip in clips if clip.path not in present]
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing):,} of {len(clips):,} clips, the first {missing[0]}; "
            "move the folder away and unpack the archive anew"
        )
    return {split: (len(listed), sum(clip.label == "bonafide" for clip in listed)) for split, listed in splits.items()}


def _clips(folder: Path, trials: Mapping[str, int]) -> dict[str, list[Utterance]]:
    clips = {}
    for split, expected in trials.items():
        listed = read_asvspoof2019_la(folder, split)
        if len(listed) != expected:
            raise DataError(f"{folder}: the {split} protocol lists {len(listed):,} clips, not {expected:,}")
        clips[split] = listed
    return clips


def _members(source: zipfile.ZipFile, archive: Path) -> dict[str, zipfile.ZipInfo]:
    """The files under `LA/` by their names below it; the whole archive is refused for one hostile member."""
    infos = source.infolist()
    if len(infos) > _MOST_MEMBERS:
        raise DataError(f"{archive} has {len(infos):,} members, over the limit of {_MOST_MEMBERS:,}: not unpacked")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        # `filename` has been altered by zipfile where it held a zero byte or, on Windows, backslashes.
        name = info.orig_filename
        if fault := _fault(info):
            raise DataError(f"{archive}: member {name!r} {fault}: nothing of the archive is unpacked")
        if name.startswith(f"{_TOP}/") and not info.is_dir():
            below = name.removeprefix(f"{_TOP}/")
            if below in members:
                raise DataError(f"{archive}: member {name!r} stands twice: nothing of the archive is unpacked")
            members[below] = info
    return members


def _fault(info: zipfile.ZipInfo) -> str | None:
    """What makes a member unfit to be unpacked; None for a plain file or folder."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\:\x00-\x1f]", name):
        return "has a name that could lead out of the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed by a method other than deflate"
    if info.file_size > _HIGHEST_RATIO * max(info.compress_size, 1):
        return f"would grow more than {_HIGHEST_RATIO}-fold"
    return None


def _named(members: Mapping[str, zipfile.ZipInfo], names: Iterable[str], archive: Path) -> dict[str, zipfile.ZipInfo]:
    chosen = {}
    for name in names:
        if name not in members:
            raise DataError(f"{archive} has no member {_TOP}/{name}; is it the ASVspoof 2019 LA archive?")
        if members[name].file_size > _LARGEST_MEMBER:
            raise DataError(f"{archive}: member {_TOP}/{name} is over the limit of {_LARGEST_MEMBER:,} bytes")
        chosen[name] = members[name]
    return chosen


def _extract(
    source: zipfile.ZipFile, chosen: Mapping[str, zipfile.ZipInfo], part: Path, progress: Progress | None
) -> None:
    total = sum(info.file_size for info in chosen.values())
    if total > _MOST_BYTES:
        raise DataError(f"{source.filename} would unpack to {total:,} bytes, over the limit of {_MOST_BYTES:,}")
    left = {name: info for name, info in chosen.items() if not _whole(part / name, info)}
    part.mkdir(parents=True, exist_ok=True)
    needed, free = sum(info.file_size for info in left.values()), shutil.disk_usage(part).free
    if needed > free:
        raise DataError(
            f"not enough room for {part}: it takes {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        )
    for parent in {(part / name).parent for name in left}:
        parent.mkdir(parents=True, exist_ok=True)
    done = total - needed
    for name, info in left.items():
        target = part / name
        # Written under another name first: a file with its own name is whole, whenever the run is killed.
        with replacing(target) as unfinished, source.open(info) as packed, unfinished.open("wb") as file:
            shutil.copyfileobj(packed, file, _BLOCK)
        done += info.file_size
        if progress:
            progress("unpack", done, total)


def _whole(path: Path, info: zipfile.ZipInfo) -> bool:
    try:
        if path.stat().st_size != info.file_size:
            return False
        return zlib.crc32(path.read_bytes()) == info.CRC
    except FileNotFoundError:
        return False
