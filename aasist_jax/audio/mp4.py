"""The index of an MP4 file (M4A, MP4, MOV): checked before a decoder sees it, and read for what is heard when.

Boxes as in ISO/IEC 14496-12. Edit lists are applied here and not by FFmpeg, which unfolds each entry in memory, plays
twice what two entries name, and cuts the end differently in each of its versions.
"""

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aasist_jax.audio.source import TO_THE_END, BinaryFile, TrackIndex
from aasist_jax.errors import AudioError

MAX_PACKETS = 1 << 21
"""Most packets that an index may list, all tracks together: 12 hours of AAC at 48 kHz. FFmpeg takes 75 MB for them."""

MAX_INDEX_BYTES = 1 << 26
"""Most that may stand in an M4A file besides its audio: indices, tags, a cover."""

MAX_EDITS = 1 << 16
"""Most entries of an edit list."""

MAX_BOXES = 1 << 20
"""Most outermost boxes of a file, and most tables in them. A fragment takes two to four boxes and one table: this is
three hours of live audio in fragments of a single packet, and days in the usual fragments of half a second or more."""

READ_BYTES = 1 << 13
"""How much is read at a time where boxes are small."""

_TABLES = re.compile(rb"stsz|stz2|stts|ctts|tfhd|trun|stsc|stco|co64")
_ROW_BYTES = {b"stts": 8, b"ctts": 8, b"stsc": 12, b"stco": 4, b"co64": 8}

PACKET_SECONDS = (0.002, 0.5)
"""How long one packet of any codec lasts. An index that says otherwise is not trusted with where the audio is cut."""


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    content: bytes

    def children(self) -> Iterator["_Box"]:
        at = 0
        while at + 8 <= len(self.content):
            size, start = int.from_bytes(self.content[at : at + 4], "big"), at + 8
            if size == 1:
                size, start = int.from_bytes(self.content[at + 8 : at + 16], "big"), at + 16
            end = at + size if start - at <= size else len(self.content)
            yield _Box(self.content[at + 4 : at + 8], self.content[start:end])
            at = end

    def find(self, *path: bytes) -> "_Box":
        """The first box at this path; an empty one where there is none."""
        box = self
        for kind in path:
            box = next((child for child in box.children() if child.kind == kind), _Box(kind, b""))
        return box

    def number(self, at: int, size: int = 4) -> int:
        return int.from_bytes(self.content[at : at + size], "big")

    def table(self, at: int, rows: int, columns: int) -> np.ndarray:
        """(rows, columns) of 32-bit numbers, as int64; fewer rows where the box ends before."""
        return _table(self.content, at, rows, columns)


def read_index(raw: BinaryFile, name: str) -> TrackIndex:
    """Check the index of an MP4 file, and read what it says of the first audio track.

    Raises:
        AudioError: the file ends amid a box, or packets that the index lists are not in it; the index would unfold to
            far more than the file, or is compressed; there is none; there is no audio track.
    """
    boxes = []
    tables = _Tables(name)
    for content in _boxes_but_audio(raw, name):
        tables.check(content)
        # The others have been checked, and are not kept.
        for kind in (b"moov", b"moof"):
            if content[4:8] == kind:
                boxes.append(_Box(kind, content[_header_size(content) :]))
    index = next((box for box in boxes if box.kind == b"moov"), None)
    if index is None:
        raise AudioError(f"{name}: holds no index (moov): damaged or truncated; get the whole file")
    tracks = (box for box in index.children() if box.kind == b"trak")
    track = next((box for box in tracks if box.find(b"mdia", b"hdlr").content[8:12] == b"soun"), None)
    if track is None:
        raise AudioError(f"{name}: holds no audio track")
    _check_packets(track.find(b"mdia", b"minf", b"stbl"), raw.seek(0, io.SEEK_END), name)
    header = track.find(b"mdia", b"mdhd")
    timescale = header.number(20 if header.content[:1] == b"\1" else 12)
    movie = index.find(b"mvhd")
    movie_timescale = movie.number(20 if movie.content[:1] == b"\1" else 12)
    if not timescale or not movie_timescale:
        raise AudioError(f"{name}: an index without a time scale: damaged or truncated; get the whole file")
    edits = _edits(track.find(b"edts", b"elst"), timescale, movie_timescale, name)
    fragments = [box for box in boxes if box.kind == b"moof"]
    return _track_index(track, edits, timescale, fragments, index.find(b"mvex"))


def _track_index(
    track: _Box, edits: list[tuple[int, int]], timescale: int, fragments: list[_Box], defaults: _Box
) -> TrackIndex:
    durations = track.find(b"mdia", b"minf", b"stbl", b"stts")
    runs = durations.table(8, durations.number(4), 2)
    packets, total = int(runs[:, 0].sum()), int(runs.prod(axis=1).sum())
    start = edits[0][0]
    # Only the last packet may last less than the others; the encoder filled it up.
    usual, last = (int(runs[0, 1]), int(runs[-1, 1])) if len(runs) else (0, 0)
    is_regular = len(runs) == 1 or (len(runs) == 2 and runs[1, 0] == 1)
    shortest, longest = (seconds * timescale for seconds in PACKET_SECONDS)
    if fragments or not is_regular or not shortest <= usual <= longest:
        # Times and packets may not correspond, or a part of them is unknown: all but the start is heard.
        # Looked up once, not in every fragment: a file of many boxes would take the square of their number.
        header = track.find(b"tkhd")
        track_id = header.number(20 if header.content[:1] == b"\1" else 12)
        extends = [box for box in defaults.children() if box.kind == b"trex" and box.number(4) == track_id]
        duration = extends[0].number(12) if extends else 0
        total += sum(_fragment_ticks(fragment, track_id, duration) for fragment in fragments)
        return TrackIndex(timescale, max(total - start, 1), min(start, total), ((start, TO_THE_END),))
    end = (packets - 1) * usual + min(last, usual)
    heard = tuple((first, min(stop, end)) for first, stop in edits if first < end)
    ticks = sum(stop - first for first, stop in heard)
    return TrackIndex(timescale, ticks, end - ticks, heard, packets, usual)


def _edits(box: _Box, timescale: int, movie_timescale: int, name: str) -> list[tuple[int, int]]:
    """The ranges of ticks that an edit list names, ascending, each tick once; the whole track where there is none."""
    count, is_long = box.number(4), box.content[:1] == b"\1"
    if count > MAX_EDITS:
        raise AudioError(f"{name}: its edit list has {count} entries; up to {MAX_EDITS} are read")
    rows = box.table(8, count, 5 if is_long else 3).tolist()
    ranges = []
    for row in rows:
        duration, start = (row[0] << 32 | row[1], row[2] << 32 | row[3]) if is_long else row[:2]
        if start >> (63 if is_long else 31):
            continue  # -1: an empty edit, a pause before the audio
        ranges.append((start, start + -(-duration * timescale // movie_timescale) if duration else TO_THE_END))
    united: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((start, end))
    return united or [(0, TO_THE_END)]


def _fragment_ticks(fragment: _Box, track_id: int, default_duration: int) -> int:
    """How long the packets of a track last in one fragment."""
    ticks = 0
    for part in (box for box in fragment.children() if box.kind == b"traf"):
        header = part.find(b"tfhd")
        if header.number(4) != track_id:
            continue
        duration = default_duration
        flags = header.number(1, 3)
        if flags & 0x8:
            duration = header.number(8 + 8 * (flags & 1) + 2 * (flags & 2))
        for run in (box for box in part.children() if box.kind == b"trun"):
            flags, count = run.number(1, 3), run.number(4)
            if flags & 0x100:
                columns = (flags & 0xF00).bit_count()
                ticks += int(run.table(8 + 4 * (flags & 1) + (flags & 4), count, columns)[:, 0].sum())
            else:
                ticks += count * duration
    return ticks


def _check_packets(samples: _Box, file_bytes: int, name: str) -> None:
    """Refuse a track of which a packet that its index lists is not in the file."""
    sizes_box, runs_box = samples.find(b"stsz"), samples.find(b"stsc")
    offsets_box = samples.find(b"stco")
    wide = not offsets_box.content
    offsets_box = samples.find(b"co64") if wide else offsets_box
    packets, chunks = sizes_box.number(8), offsets_box.number(4)
    if not packets:
        return  # in fragments; or with sizes in half bytes (stz2), which the decoder is left to check
    if chunks > MAX_PACKETS:
        raise AudioError(f"{name}: its index lists {chunks} chunks; up to {MAX_PACKETS} are read")
    offsets = offsets_box.table(8, chunks, 2 if wide else 1)
    starts = offsets[:, 0] << 32 | offsets[:, 1] if wide else offsets[:, 0]
    runs = runs_box.table(8, runs_box.number(4), 3)
    if (np.diff(runs[:, 0]) <= 0).any():
        raise AudioError(f"{name}: an index whose chunks are not in order: damaged or truncated; get the whole file")
    # A run of chunks that hold equally many packets begins with the chunk of this number, counted from 1.
    bounds = np.clip(np.append(runs[:, 0] - 1, starts.size), 0, starts.size)
    in_chunk = np.repeat(runs[:, 1], np.diff(bounds))
    starts = starts[: in_chunk.size]
    uniform = sizes_box.number(4)
    sizes = np.full(packets, uniform, np.int64) if uniform else sizes_box.table(12, packets, 1)[:, 0]
    positions = np.append(0, np.cumsum(sizes))
    ends = np.minimum(np.cumsum(in_chunk), sizes.size)
    firsts = np.append(0, ends)[:-1]
    # What is left of the file from each chunk on; an offset of 64 bits can be negative here.
    room = np.where(starts >= 0, file_bytes - np.maximum(starts, 0), -1)
    reached = np.searchsorted(positions, positions[firsts] + room, side="right") - 1
    present = int((np.clip(reached, firsts, ends) - firsts).sum())
    if present < packets:
        raise AudioError(f"{name}: {present} of {packets} packets are there: damaged or truncated; get the whole file")


class _Tables:
    """Refuses an index that FFmpeg would unfold to far more than the file.

    Tables of sample sizes and times are stored as runs, of up to 2**32 packets in a few bytes, and FFmpeg takes them
    at their word. Their tags are sought in all but the audio itself, however the boxes are nested, since FFmpeg reads
    tables in places where they do not belong.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._listed: Counter[bytes] = Counter()
        self._tables = self._chunks = self._most = 0
        self._has_fragments = False

    def check(self, box: bytes) -> None:
        """Check the tables in one outermost box, given with its header.

        Raises:
            AudioError: a table that is larger than its box; too many tables, packets or samples in the boxes so far.
        """
        if b"cmov" in box:
            raise AudioError(f"{self._name}: a compressed index is not read; convert it, for example to FLAC")
        table_bytes = 0
        for match in _TABLES.finditer(box, 4):
            tag, at = match[0], match.end()
            if tag == b"tfhd":
                self._has_fragments = True
                continue
            if tag == b"trun" and not self._has_fragments:
                continue  # FFmpeg skips it as well; most often it is a part of a word, such as a title with a trunk
            if box[at - 6 : at - 4].isalpha():
                # Text, as in a title with Costco. Should it be the size of a box after all, FFmpeg's limits hold.
                continue
            self._tables += 1
            if self._tables > MAX_BOXES:
                raise AudioError(f"{self._name}: holds over {MAX_BOXES} tables; convert it, for example to FLAC")
            count = int.from_bytes(box[at + 4 : at + 8], "big")
            table_bytes += count * _ROW_BYTES.get(tag, 0)
            # Tables do not overlap, so that all together are no larger than the box around them. Without this check
            # the time for overlapping ones would grow with the square of their number.
            if table_bytes > len(box) or count * _ROW_BYTES.get(tag, 0) > _size_before(box, at) - 16:
                raise AudioError(
                    f"{self._name}: a table in its index is larger than its box: damaged or truncated; "
                    "get the whole file"
                )
            if count or tag not in _ROW_BYTES:
                self._add(tag, box, at, count)

    def _add(self, tag: bytes, box: bytes, at: int, count: int) -> None:
        if tag in (b"stsz", b"stz2"):
            self._listed[tag] += int.from_bytes(box[at + 8 : at + 12], "big")
        elif tag == b"trun":
            self._listed[tag] += count
        elif tag in (b"stts", b"ctts"):
            self._listed[tag] += int(_table(box, at + 8, count, 2)[:, 0].sum())
        elif tag == b"stsc":
            self._most = max(self._most, int(_table(box, at + 8, count, 3)[:, 1].max(initial=0)))
        else:
            self._chunks += count
        if self._listed[tag] > MAX_PACKETS:
            raise AudioError(f"{self._name}: its index lists {self._listed[tag]} packets; up to {MAX_PACKETS} are read")
        # Where each sample is a tick long, FFmpeg notes one packet for every 1024 of a chunk.
        if self._chunks * self._most > 1024 * MAX_PACKETS:
            raise AudioError(f"{self._name}: its index lists too many samples; up to {1024 * MAX_PACKETS} are read")


def _size_before(content: bytes, at: int) -> int:
    """The size of the box whose tag ends at `at`, as far as it lies in the content; 0 and 1 stand for all the rest."""
    size, rest = int.from_bytes(content[at - 8 : at - 4], "big"), len(content) - at + 8
    return rest if size < 2 else min(size, rest)


def _table(content: bytes, start: int, rows: int, columns: int) -> np.ndarray:
    """(rows, columns) of 32-bit numbers, as int64; fewer rows where the content ends before."""
    rows = max(0, min(rows, (len(content) - start) // (4 * columns)))
    table = np.frombuffer(content, ">u4", rows * columns, start) if rows else np.zeros(0, ">u4")
    return table.reshape(-1, columns).astype(np.int64)


def _header_size(content: bytes) -> int:
    return 16 if content[:4] == b"\0\0\0\1" else 8


class _Reader:
    """Reads pieces of a file at rising positions: small ones that lie side by side with one call for many."""

    def __init__(self, raw: BinaryFile) -> None:
        self._raw = raw
        self._start = 0
        self._content = b""

    def read(self, start: int, size: int) -> bytes:
        """The bytes from `start` on; fewer at the end of the file."""
        offset = start - self._start
        if not 0 <= offset <= offset + size <= len(self._content):
            self._raw.seek(start)
            self._start, self._content, offset = start, self._raw.read(max(size, READ_BYTES)), 0
        return self._content[offset : offset + size]


def _boxes_but_audio(raw: BinaryFile, name: str) -> Iterator[bytes]:
    """The outermost boxes of an MP4 file, each as one piece, without those that hold the audio.

    Raises:
        AudioError: the file ends amid a box; too many boxes; too much besides the audio.
    """
    end = raw.seek(0, io.SEEK_END)
    reader = _Reader(raw)
    start = read = boxes = 0
    while start < end:
        boxes += 1
        if boxes > MAX_BOXES:
            raise AudioError(f"{name}: holds over {MAX_BOXES} boxes; convert it, for example to FLAC")
        head = reader.read(start, min(16, end - start))
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if end - start < 8 or (size > end - start and head[4:8] in (b"mdat", b"moof", b"moov")):
            raise AudioError(f"{name}: ends amid a box: truncated; get the whole file")
        if size < 8 or size > end - start:
            size = end - start
        if head[4:8] != b"mdat":
            read += size
            if read > MAX_INDEX_BYTES:
                raise AudioError(
                    f"{name}: over {MAX_INDEX_BYTES} bytes besides the audio; convert it, for example to FLAC"
                )
            yield reader.read(start, size)
        start += size
