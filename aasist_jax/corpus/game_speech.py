"""Speech of two adventure games whose publishers made them free: lines of dialogue inside one large file each.

A line is named `FILE#NAME`, where FILE is the path of the large file. All numbers of bytes and samples are in the
formats as the games' programs read them; the recordings have 11,025 Hz.
"""

import io
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float64

from aasist_jax.corpus import rnc
from aasist_jax.errors import DataError

RATE = 11_025

QUEEN = "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"
SKY = "usr/share/scummvm/beneath-a-steel-sky/sky.dsk"
"""The files in Debian's packages, below the root."""

_SKY_SPEECH = range(50_000, 60_000)
_SKY_HEADER = 22
_QUEEN_BYTES_PER_SECOND = 1_990
_AMOS_HEADER = 20


@dataclass(frozen=True)
class Line:
    """A line of dialogue.

    Attributes:
        character: who speaks in the game, in lower case; empty if the file does not tell.
        offset: where its bytes begin in the large file.
        size: how many there are.
        seconds: its length; for MP3 an estimate from the size.
    """

    character: str
    offset: int
    size: int
    seconds: float


@cache
def queen_lines(path: Path) -> Mapping[str, Line]:
    """The lines of `queen.1c` of Flight of the Amazon Queen (MP3), by the names of their files.

    The hero has the lines `JOE....` and, in dialogues, those with a J; lines with a P are by the character that the
    dialogue is named for, such as `FAYE4.DOG`, whose head holds the number with which the names of its lines begin.
    Lines of cut scenes, where anybody may speak, are by the character `scenes`.

    Raises:
        DataError: it is not that file, or not the whole of it.
    """
    data = path.read_bytes()
    if data[:4] != b"QTBL" or len(data) < 15:
        raise DataError(f"{path.name}: no table of files at its start; remove it and build again")
    entries = {}
    count = int.from_bytes(data[13:15], "big")
    if len(data) < 15 + 21 * count:
        raise _cut_short(path)
    for number in range(count):
        name, _, offset, size = struct.unpack_from(">12sBII", data, 15 + 21 * number)
        if offset + size > len(data):
            raise _cut_short(path)
        entries[name.split(b"\0")[0].decode("latin-1")] = (offset, size)
    speakers = {}
    for name, (offset, _) in entries.items():
        if name.endswith(".DOG"):
            if offset + _AMOS_HEADER + 6 > len(data):
                raise _cut_short(path)
            (key,) = struct.unpack_from(">H", data, offset + _AMOS_HEADER + 4)
            speakers[f"{key:02d}"] = name[:-4].rstrip("0123456789").lower()
    lines = {}
    for name, (offset, size) in sorted(entries.items()):
        if character := _queen_character(name, speakers):
            lines[name] = Line(character, offset, size, size / _QUEEN_BYTES_PER_SECOND)
    return lines


def _queen_character(name: str, speakers: Mapping[str, str]) -> str | None:
    if re.fullmatch(r"JOE\d{5}\.SB", name):
        return "joe"
    if re.fullmatch(r"C\d\d.{6}\.SB|C\d\d.{5}\.SB", name):
        return "scenes"
    dialogue = re.fullmatch(r"(\d\d)[0-9A-F]{4}([JP]).\.SB", name)
    if dialogue is None:
        return None
    return "joe" if dialogue[2] == "J" else speakers.get(dialogue[1])


@cache
def sky_lines(path: Path) -> Mapping[str, Line]:
    """The lines of `sky.dsk` of Beneath a Steel Sky, by number; the list of files is `sky.dnr` beside it.

    The file does not tell who speaks. Entries that are not compressed, or marked in the highest bits of their size, are
    noises and music, and are left out.

    Raises:
        DataError: it is not that file, or not the whole of it, or the list is missing.
    """
    listed = path.with_suffix(".dnr")
    if not listed.is_file():
        raise DataError(f"{path.name}: there is no {listed.name} beside it; remove the folder and build again")
    entries, data = listed.read_bytes(), path.read_bytes()
    end = 4 + 8 * int.from_bytes(entries[:4], "little")
    if len(entries) < end:
        raise _cut_short(listed)
    lines = {}
    for start in range(4, end, 8):
        number = int.from_bytes(entries[start : start + 2], "little")
        offset = int.from_bytes(entries[start + 2 : start + 5], "little")
        size = int.from_bytes(entries[start + 5 : start + 8], "little")
        # Beyond 8 MiB an offset counts in sixteens.
        offset = (offset & 0x7FFFFF) * 16 if offset & 0x800000 else offset
        packed = data[offset + _SKY_HEADER : offset + _SKY_HEADER + rnc.HEADER_BYTES]
        if number in _SKY_SPEECH and size < 1 << 22 and packed.startswith(b"RNC\x01"):
            if offset + size > len(data):
                raise _cut_short(path)
            lines[f"{number}"] = Line("", offset, size, rnc.unpacked_size(packed) / RATE)
    if not lines:
        raise DataError(f"{path.name}: there is no speech in it; remove it and build again")
    return lines


def _cut_short(path: Path) -> DataError:
    return DataError(f"{path.name}: its end is missing; remove it and build again")


def lines_of(path: Path) -> Mapping[str, Line]:
    """The lines of either file, told apart by its name."""
    return queen_lines(path) if path.name == Path(QUEEN).name else sky_lines(path)


def load_line(path: Path, name: str) -> tuple[Float64[np.ndarray, "samples"], int]:
    """Decode a line: MP3, or compressed unsigned samples of 8 bits; its samples, and how many there are in a second.

    Raises:
        DataError: there is no such line, or it is damaged.
    """
    line = lines_of(path).get(name)
    if line is None:
        raise DataError(f"{path.name}: there is no line {name}; remove the file and build again")
    with path.open("rb") as file:
        file.seek(line.offset)
        data = file.read(line.size)
    try:
        if path.name == Path(QUEEN).name:
            wave, rate = soundfile.read(io.BytesIO(data), dtype="float64")
            return wave, rate
        return (np.frombuffer(rnc.unpack(data[_SKY_HEADER:]), np.uint8) - 128.0) / 128.0, RATE
    except (DataError, soundfile.SoundFileError) as error:
        raise DataError(f"{path.name}, line {name}: {error}; remove the file and build again") from None
