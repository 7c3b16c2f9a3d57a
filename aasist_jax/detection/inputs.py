"""Turns arguments (files, folders, patterns and standard input) into a list of recordings."""

import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aasist_jax.audio.addresses import address_advice
from aasist_jax.data.table_words import AUDIO_SUFFIXES
from aasist_jax.errors import AudioError

STANDARD_INPUT = "-"

STANDARD_INPUT_BYTES = 1 << 30
"""The most bytes that are read from standard input, which is held in memory."""

FOLDERS_COUNTED = 1_000
"""The most subfolders that are looked into only to tell what was left out of them."""


@dataclass(frozen=True)
class Recording:
    """One recording to score.

    Attributes:
        name: the path of the file, or `-` for standard input.
        error: why the recording cannot be opened; empty otherwise.
        channel: the channel that is meant, counted from 0; None for the mean of all.
    """

    name: str
    error: str = ""
    channel: int | None = None

    @property
    def title(self) -> str:
        """What people and rows call it: its name and, where one is meant, the channel."""
        return self.name if self.channel is None else f"{self.name}, channel {self.channel}"


def find_recordings(arguments: Iterable[str | os.PathLike[str]], *, recursive: bool = False) -> list[Recording]:
    """List the recordings that the arguments name, in the order of the arguments, each path once.

    A folder stands for the audio files in it, sorted, without hidden ones; with `recursive`, also for those in its
    subfolders. Symbolic links are followed, and no folder is entered twice. A pattern (`*`, `?`, `[...]`, `**`) stands
    for the paths that it matches, unless a file has that name. An argument that matches nothing becomes a recording
    with an error.
    """
    found: dict[str, Recording] = {}
    for argument in arguments:
        for recording in _expand(os.fspath(argument), recursive):
            found.setdefault(recording.name, recording)
    return list(found.values())


def each_channel(recordings: Iterable[Recording]) -> list[Recording]:
    """The channels of the recordings, each as a recording of its own, by what their headers state.

    A recording that cannot be opened stays one, so that scoring it says why.
    """
    # Reading audio imports NumPy, which a wrong option need not wait for.
    from aasist_jax.audio.load import inspect_audio

    found = []
    for recording in recordings:
        try:
            channels = 1 if recording.error else inspect_audio(recording.name).channels
        except AudioError:
            channels = 1
        sides = range(channels) if channels > 1 else (None,)
        found += [replace(recording, channel=channel) for channel in sides]
    return found


def left_out(arguments: Iterable[str | os.PathLike[str]], found: Iterable[Recording]) -> str:
    """A line about the audio files in subfolders that are not among the recordings found without `recursive`.

    Returns:
        '' if there are none. Of more than `FOLDERS_COUNTED` subfolders, the line says "at least".
    """
    matches = [match for argument in arguments for match in _matches(os.fspath(argument))]
    folders = [match for match in dict.fromkeys(matches) if os.path.isdir(match)]
    taken, entered = {recording.name for recording in found}, set[tuple[int, int]]()
    walks = (_walk(Path(folder), recursive=True, entered=entered, most=FOLDERS_COUNTED) for folder in folders)
    missed = {recording.name for walk in walks for recording in walk if not recording.error} - taken
    if not missed:
        return ""
    least = "at least " if len(entered) == FOLDERS_COUNTED else ""
    files = "audio file is" if len(missed) == 1 else "audio files are"
    place = printable(folders[0]) if len(folders) == 1 else f"the {len(folders)} folders"
    return f"{least}{len(missed):,} {files} left out, in subfolders of {place}; for them add --recursive (-r)"


def _expand(argument: str, recursive: bool) -> Iterator[Recording]:
    if argument == STANDARD_INPUT:
        yield Recording(STANDARD_INPUT)
    elif not os.path.lexists(argument) and (advice := address_advice(argument)):
        yield Recording(argument, advice)
    elif matches := _matches(argument):
        for match in matches:
            yield from _in_folder(match, recursive) if os.path.isdir(match) else [Recording(str(Path(match)))]
    else:
        yield Recording(argument, f"{printable(argument)}: matches no file; check the pattern")


def _matches(argument: str) -> list[str]:
    """The paths that a pattern matches, sorted; anything else as it is."""
    if glob.has_magic(argument) and not os.path.lexists(argument):
        return sorted(glob.glob(argument, recursive=True))
    return [argument]


def _in_folder(folder: str, recursive: bool) -> Iterator[Recording]:
    is_empty = True
    for recording in _walk(Path(folder), recursive):
        is_empty = False
        yield recording
    if is_empty:
        way_out = "name the files" if recursive else "for its subfolders add --recursive"
        yield Recording(str(Path(folder)), f"{printable(folder)}: no audio files in this folder; {way_out}")


def _walk(
    top: Path, recursive: bool, *, entered: set[tuple[int, int]] | None = None, most: int | None = None
) -> Iterator[Recording]:
    """The audio files below `top`, in the order of their paths.

    Folders that are in `entered`, by device and inode, are not entered again; once it holds `most` of them, none is.
    """
    entered = set() if entered is None else entered
    ahead = [(top, True)]
    while ahead:
        path, is_folder = ahead.pop()
        if not is_folder:
            yield Recording(str(path))
            continue
        try:
            identity = path.stat()
            if (identity.st_dev, identity.st_ino) in entered or len(entered) == most:
                continue
            entered.add((identity.st_dev, identity.st_ino))
            with os.scandir(path) as entries:
                names = sorted((entry.name for entry in entries if not entry.name.startswith(".")), reverse=True)
        except OSError as error:
            yield Recording(str(path), f"{printable(str(path))}: the folder cannot be read ({error.strerror})")
            continue
        for child in (path / name for name in names):
            is_folder = os.path.isdir(child)
            if recursive if is_folder else child.suffix.lower() in AUDIO_SUFFIXES:
                ahead.append((child, is_folder))


class _StandardInput(io.BytesIO):
    name = "standard input"


def open_recording(recording: Recording) -> str | io.BytesIO:
    """Return the input for the decoder: the path, or all of standard input in memory.

    Raises:
        AudioError: the recording has an error, or standard input is a terminal or too long.
    """
    if recording.error:
        raise AudioError(recording.error)
    if recording.name != STANDARD_INPUT:
        return recording.name
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError("standard input: is a terminal; pipe an audio file into the command")
    content = sys.stdin.buffer.read(STANDARD_INPUT_BYTES + 1)
    if len(content) > STANDARD_INPUT_BYTES:
        raise AudioError(f"standard input: more than {STANDARD_INPUT_BYTES >> 20} MiB; write it to a file")
    return _StandardInput(content)


def printable(name: str) -> str:
    """The name on one line, with control characters escaped so that they cannot affect a terminal."""
    return name if name.isprintable() else repr(name)
