"""The index of an MP4 file: what it may state, and which of the audio is heard."""

import io
import re
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.audio import mp4
from aasist_jax.audio.load import inspect_audio, load_audio
from aasist_jax.audio.mp4 import MAX_EDITS, read_index
from aasist_jax.audio.source import TO_THE_END
from aasist_jax.errors import AudioError
from tests.audio.catalogue import box_at, fragmented, m4a_bomb, m4a_with, patched
from tests.audio.recordings import m4a, needs_ffmpeg, voice
from tests.conftest import REFERENCE, REPOSITORY

CASES = REFERENCE.parent / "cases"


@pytest.fixture(scope="module", autouse=True)
def _encoder() -> None:
    needs_ffmpeg()


def grown(data: bytes, path: tuple[bytes, ...], at: int, removed: int, added: bytes) -> bytes:
    """Other bytes at a place in the index, which stands behind the audio; the boxes around it grow."""
    result = data[:at] + added + data[at + removed :]
    for kind in path:
        start = result.index(kind) - 4
        size = int.from_bytes(result[start : start + 4], "big") + len(added) - removed
        result = patched(result, start, struct.pack(">I", size))
    return result


def with_edits(data: bytes, edits: list[tuple[int, int]], version: int = 0) -> bytes:
    """Another edit list: (duration in milliseconds, start in ticks; -1 for a pause)."""
    at = box_at(data, b"mvhd") + 12
    per_second = int.from_bytes(data[at : at + 4], "big")  # differs between versions of FFmpeg
    edits = [(duration * per_second // 1000, start) for duration, start in edits]
    form = ">qqI" if version else ">iiI"
    content = bytes([version, 0, 0, 0]) + struct.pack(">I", len(edits))
    content += b"".join(struct.pack(form, duration, start, 0x10000) for duration, start in edits)
    at = box_at(data, b"elst")
    size = int.from_bytes(data[at - 8 : at - 4], "big") - 8
    return grown(data, (b"moov", b"trak", b"edts", b"elst"), at, size, content)


def heard(data: bytes) -> tuple[tuple[int, int], ...]:
    return read_index(io.BytesIO(data), "a").heard


END = 1024 + 32_000
"""Where a recording of 2 s at 16 kHz ends, after the encoder's delay; the rest of its last packet is filling."""


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([(2000, 1024)], [(1024, END)]),
        ([(9000, 1024)], [(1024, END)]),
        ([(0, 1024)], [(1024, END)]),
        ([(500, -1), (2000, 1024)], [(1024, END)]),
        ([(1000, 5024)], [(5024, 21_024)]),
        ([(250, 1024), (250, 17_024)], [(1024, 5024), (17_024, 21_024)]),
        ([(250, 17_024), (250, 1024)], [(1024, 5024), (17_024, 21_024)]),
        ([(2000, 1024)] * 1000, [(1024, END)]),
        ([(1000, 1024), (1000, 9024)], [(1024, 25_024)]),
        ([(100, 1024 + 1600 * part) for part in range(20)], [(1024, END)]),
        ([(1000, 1_000_000)], []),
        ([(500, -1)], [(0, END)]),
        ([], [(0, END)]),
    ],
)
def test_each_sample_that_the_edit_list_names_is_heard_once(
    version: int, edits: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    data = with_edits(m4a(voice(2.0)), edits, version)
    assert heard(data) == tuple(expected)
    assert read_index(io.BytesIO(data), "a").ticks == sum(end - start for start, end in expected)


@pytest.mark.usefixtures("ffmpeg")
def test_what_is_decoded_is_cut_where_the_edits_say() -> None:
    data = m4a(voice(20.0))
    whole = load_audio(io.BytesIO(with_edits(data, [])))
    assert whole.size == 1024 + 320_000
    edits = [(500, 4_000), (0, 290_000), (17_000, 15_000)]
    expected = np.concatenate([whole[4_000:12_000], whole[15_000:287_000], whole[290_000:]])
    np.testing.assert_array_equal(load_audio(io.BytesIO(with_edits(data, edits))), expected)
    assert inspect_audio(io.BytesIO(with_edits(data, edits))).frames == expected.size
    with pytest.raises(AudioError, match="no samples"):
        load_audio(io.BytesIO(with_edits(data, [(1000, 1_000_000)])))


def test_an_edit_list_of_too_many_entries_is_refused() -> None:
    data = with_edits(m4a(voice(2.0)), [(1, 1024)] * (MAX_EDITS + 1))
    with pytest.raises(AudioError, match="its edit list has 65537 entries; up to 65536 are read"):
        read_index(io.BytesIO(data), "a")
    heard(with_edits(m4a(voice(2.0)), [(1, 1024)] * MAX_EDITS))


@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.skipif(not CASES.is_dir(), reason=f"no reference folder at {CASES}")
def test_known_bombs_of_edit_lists_take_no_time() -> None:
    start = time.process_time()
    with pytest.raises(AudioError, match="of 1000000 packets are there: damaged or truncated"):
        load_audio(CASES / "m4a_elst_23KB_2.2GB.m4a")
    assert load_audio(CASES / "m4a_elst_40KB_3s_becomes_3008s.m4a").size == 48_000
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("delta", "reason"),
    [(1, "a packet of a tick"), (0x7FFF_FFFF, "a packet of days")],
)
def test_times_that_no_packet_has_cut_nothing(delta: int, reason: str) -> None:
    assert heard(m4a_with(b"stts", 12, "I", delta)) == ((1024, TO_THE_END),), reason


def test_times_that_vary_cut_nothing_at_the_end() -> None:
    data = m4a(voice(2.0))
    at = box_at(data, b"stts")
    rows = struct.pack(">IIIIIII", 0, 3, 20, 1020, 12, 1028, 1)[: 4 * 7] + struct.pack(">I", 1024)
    varied = grown(data, (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"), at, 24, rows)
    assert heard(varied) == ((1024, TO_THE_END),)


def test_a_file_in_fragments_is_heard_to_its_end() -> None:
    index = read_index(io.BytesIO(fragmented()), "a")
    assert index.heard == ((0, TO_THE_END),)
    assert index.ticks == END
    delayed = m4a(voice(2.0), movflags="frag_keyframe+delay_moov+default_base_moof", frag_duration="500000")
    index = read_index(io.BytesIO(delayed), "a")
    assert index.heard == ((1024, TO_THE_END),)
    assert index.ticks == 32_000


def wide_offsets(data: bytes) -> bytes:
    """Chunk offsets of 64 bits."""
    at = box_at(data, b"stco")
    count = int.from_bytes(data[at + 4 : at + 8], "big")
    offsets = struct.unpack(f">{count}I", data[at + 8 : at + 8 + 4 * count])
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stco")
    return grown(data, path, at + 8, 4 * count, struct.pack(f">{count}Q", *offsets)).replace(b"stco", b"co64")


def test_offsets_of_64_bits_are_checked_as_well() -> None:
    data = wide_offsets(m4a(voice(2.0)))
    assert heard(data) == ((1024, END),)
    offset = box_at(data, b"co64") + 8
    for far in (1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        with pytest.raises(AudioError, match=r"\d+ of 33 packets are there"):
            read_index(io.BytesIO(patched(data, offset, struct.pack(">Q", far))), "a")


@pytest.mark.parametrize(
    ("tag", "offset", "value", "message"),
    [
        (b"stsz", 12, 0x7FFF_FFFF, "0 of 33 packets are there"),
        (b"stsz", 8, 34, "33 of 34 packets are there"),
        (b"stco", 8, 0xFFFF_FFFF, "0 of 33 packets are there"),
        (b"stsc", 12, 20, "20 of 33 packets are there"),
        (b"stsc", 8, 2, "0 of 33 packets are there"),
        (b"mdhd", 12, 0, "an index without a time scale"),
        (b"mvhd", 12, 0, "an index without a time scale"),
        (b"hdlr", 8, int.from_bytes(b"vide", "big"), "holds no audio track"),
        (b"mdia", -4, int.from_bytes(b"free", "big"), "holds no audio track"),
    ],
)
def test_an_index_at_odds_with_its_file_is_refused(tag: bytes, offset: int, value: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read_index(io.BytesIO(m4a_with(tag, offset, "I", value)), "a")


def test_chunks_out_of_order_are_refused() -> None:
    data = m4a(voice(2.0))
    runs = struct.pack(">IIIIIII", 2, 1, 33, 1, 1, 33, 1)
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsc")
    with pytest.raises(AudioError, match="chunks are not in order"):
        read_index(io.BytesIO(grown(data, path, box_at(data, b"stsc") + 4, 16, runs)), "a")


def test_a_bomb_is_refused_before_a_child_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AASIST_JAX_FFMPEG", str(tmp_path / "none"))
    with pytest.raises(AudioError, match="its index lists 10000000 packets"):
        load_audio(io.BytesIO(m4a_bomb(10_000_000)))
    with pytest.raises(AudioError, match="which is no program"):
        load_audio(io.BytesIO(m4a(voice(2.0))))


def test_the_index_of_any_damaged_file_is_read_or_refused() -> None:
    """Every byte of the index, one after the other."""
    data = m4a(voice(0.2))
    messages = set()
    for at in range(data.index(b"moov") - 4, len(data)):
        for value in (0, 0xFF, data[at] ^ 1):
            try:
                index = read_index(io.BytesIO(patched(data, at, bytes([value]))), "a")
            except AudioError as error:
                messages.add(str(error))
                continue
            assert index.timescale > 0
            assert index.ticks >= 0
            assert all(first < stop for first, stop in index.heard)
            assert all(left[1] < right[0] for left, right in zip(index.heard, index.heard[1:], strict=False))
    assert len(messages) > 5
    assert all(re.fullmatch(r"a: [^\n]+", message) for message in messages)


def box(kind: bytes, *content: bytes) -> bytes:
    inside = b"".join(content)
    return struct.pack(">I", 8 + len(inside)) + kind + inside


def small_movie(*tables: bytes, extends: bytes = b"") -> bytes:
    """The start of a file and an index of one audio track, with these tables of samples."""
    header = box(b"tkhd", bytes(12), struct.pack(">I", 1), bytes(60))
    rate = box(b"mdhd", bytes(12), struct.pack(">II", 16_000, 0))
    sound = box(b"hdlr", bytes(8), b"soun", bytes(12))
    track = box(b"trak", header, box(b"mdia", rate, sound, box(b"minf", box(b"stbl", *tables))))
    movie = box(b"mvhd", bytes(12), struct.pack(">II", 1000, 0))
    return box(b"ftyp", b"M4A ", bytes(4)) + box(b"moov", movie, track, extends)


def overlapping_tables(tag: bytes, count: Callable[[int], int]) -> bytes:
    """Tables each of which claims the next `count` bytes, though another begins after 16."""
    starts = range(HOSTILE_BYTES, 0, -16)
    return b"".join(struct.pack(">I4sII", 0, tag, 0, count(left)) for left in starts)


HOSTILE_BYTES = 500_000
EXTENDS = box(b"trex", bytes(4), struct.pack(">IIIII", 1, 1, 1024, 0, 0))
FRAGMENT = box(
    b"moof", box(b"traf", box(b"tfhd", bytes(4), struct.pack(">I", 1)), box(b"trun", bytes(4), struct.pack(">I", 1)))
)
HOSTILE = {
    "empty boxes": small_movie() + box(b"free") * (HOSTILE_BYTES // 8),
    "empty boxes of audio": small_movie() + box(b"mdat") * (HOSTILE_BYTES // 8),
    "empty fragments": small_movie() + box(b"moof") * (HOSTILE_BYTES // 8),
    "empty boxes in the index": small_movie(box(b"free") * (HOSTILE_BYTES // 8)),
    "many tables": small_movie(box(b"stts", bytes(8)) * (HOSTILE_BYTES // 16)),
    "many defaults": small_movie(extends=box(b"mvex", EXTENDS * (HOSTILE_BYTES // len(EXTENDS)))),
    "many fragments and defaults": small_movie(extends=box(b"mvex", EXTENDS * (HOSTILE_BYTES // 2 // len(EXTENDS))))
    + FRAGMENT * (HOSTILE_BYTES // 2 // len(FRAGMENT)),
    "overlapping times": small_movie(overlapping_tables(b"stts", lambda left: (left - 16) // 8)),
    "endless times": small_movie(overlapping_tables(b"stts", lambda left: 0x7FFF_FFFF)),
    "overlapping offsets of times": small_movie(overlapping_tables(b"ctts", lambda left: (left - 16) // 8)),
    "overlapping runs of chunks": small_movie(overlapping_tables(b"stsc", lambda left: (left - 16) // 12)),
}


def cost_of_reading(data: bytes, folder: Path) -> tuple[float, float, str]:
    """Processor time (s), growth of memory (MB) and outcome of reading an index, without the checks of types."""
    code = """
        import re, sys, time
        from pathlib import Path
        from aasist_jax.audio.mp4 import read_index
        from aasist_jax.errors import AudioError
        status = Path("/proc/self/status")  # not `resource`, which counts the parent's memory from before the start
        peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1]) if status.exists() else 0
        with open(sys.argv[1], "rb", buffering=0) as raw:
            before, start = peak(), time.process_time()
            try:
                outcome = f"{read_index(raw, 'a').timescale} Hz"
            except AudioError as error:
                outcome = str(error)
            print(time.process_time() - start, (peak() - before) / 1024, outcome)
    """
    path = folder / "hostile.m4a"
    path.write_bytes(data)
    command = [sys.executable, "-c", textwrap.dedent(code), path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=True)
    seconds, megabytes, outcome = done.stdout.split(maxsplit=2)
    return float(seconds), float(megabytes), outcome


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_index_takes_little_time(kind: str, tmp_path: Path) -> None:
    seconds, _, outcome = cost_of_reading(HOSTILE[kind], tmp_path)
    is_refused = kind.startswith(("overlapping", "endless"))
    assert outcome.startswith("a: a table in its index is larger than its box" if is_refused else "16000 Hz")
    assert seconds < 1


def test_boxes_that_are_not_needed_take_no_memory(tmp_path: Path) -> None:
    _, megabytes, _ = cost_of_reading(small_movie() + box(b"free") * 250_000, tmp_path)
    assert megabytes < 10


def test_too_many_boxes_or_tables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4, "MAX_BOXES", 1000)
    for data, what in (
        (small_movie() + box(b"mdat") * 1000, "boxes"),
        (small_movie(box(b"stts", bytes(8)) * 1001), "tables"),
    ):
        with pytest.raises(AudioError, match=f"^a: holds over 1000 {what}; convert it, for example to FLAC$"):
            read_index(io.BytesIO(data), "a")


@pytest.mark.parametrize("title", ["The trunk of an elephant", "At Costco", "Costco Costco Costco"])
def test_a_word_in_a_title_is_no_table(title: str) -> None:
    """`trun` and `stco` are the tags of tables, and parts of words."""
    data = m4a(voice(2.0), metadata=f"title={title}")
    assert title.encode() in data
    assert heard(data) == ((1024, END),)


def test_small_boxes_are_read_many_at_a_time() -> None:
    class Counting(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            return super().read(size)

    file = Counting(small_movie() + box(b"free") * 10_000)
    read_index(file, "a")
    assert file.reads < 20
