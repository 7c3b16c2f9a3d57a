"""Damage that decoders conceal, told by the checks of FLAC, Ogg and MP3; and intact files, which are left alone."""

import io
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.audio.damage import find_damage
from aasist_jax.audio.damage.checksums import BLOCK_BYTES, crc8, crc16, crc16_reflected, crc32_forward, reversed_bits
from aasist_jax.detection.detector import Detector
from tests.audio.catalogue import patched
from tests.audio.frame_damage import FORMATS, LEAST_TOLD, flac_parts, mp3_parts, ogg_parts
from tests.audio.recordings import encoded, m4a, needs_ffmpeg, ogg_pages, silent, voice, with_checksum
from tests.conftest import CORPUS, REPOSITORY, needs_corpus
from tests.made_speech import made_speech
from tests.models import toy

SPEECH = voice(6.0)


def damage(data: bytes) -> str | None:
    return find_damage(io.BytesIO(data))


def test_checksums_are_the_published_ones() -> None:
    """Check values of CRC-16/UMTS, CRC-16/ARC, CRC-8/SMBUS, and CRC-32/CKSUM's polynomial as Ogg has it."""
    digits = b"123456789"
    assert crc16(digits) == 0xFEE8
    assert reversed_bits(crc16_reflected(digits), 16) == 0xBB3D
    assert crc8(digits) == 0xF4
    page = with_checksum(bytearray(b"OggS" + bytes(23) + digits))
    assert crc32_forward(bytes(page[:22]) + bytes(4) + bytes(page[26:])) == int.from_bytes(page[22:26], "little")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, BLOCK_BYTES - 1, BLOCK_BYTES + 3])
def test_a_checksum_is_the_same_however_it_is_cut(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    whole = crc16(data)
    for cut in {0, 1, size // 3, size}:
        assert crc16(data[cut:], crc16(data[:cut])) == whole
    assert crc16(data + whole.to_bytes(2, "big")) == 0
    state = 0
    for byte in data[: 1 << 10]:
        for bit in range(7, -1, -1):
            top = (state >> 15) ^ (byte >> bit & 1)
            state = (state << 1 & 0xFFFF) ^ (0x8005 if top else 0)
    assert crc16(data[: 1 << 10]) == state


# Intact files.


def id3(size: int) -> bytes:
    """A tag with a picture of random bytes, amid which there are headers of frames."""
    picture = b"APIC" + size.to_bytes(4, "big") + bytes(2) + np.random.default_rng(1).bytes(size - 4) + b"\xff\xfb\x90d"
    length = len(picture)
    head = bytes([length >> 21 & 127, length >> 14 & 127, length >> 7 & 127, length & 127])
    return b"ID3\3\0\0" + head + picture


def with_picture(flac: bytes) -> bytes:
    """A block with a picture after the first one."""
    picture = np.random.default_rng(2).bytes(100_000) + b"\xff\xf8\xc9\x18"
    return flac[:42] + b"\6" + len(picture).to_bytes(3, "big") + picture + flac[42:]


def without_md5(flac: bytes) -> bytes:
    return patched(flac, 26, bytes(16))


def without_length(flac: bytes) -> bytes:
    return patched(flac, 21, bytes([flac[21] & 0xF0]) + bytes(4))


def of_libsndfile() -> Iterator[tuple[str, bytes]]:
    for kind in FORMATS:
        for seconds, rate, channels in ((6.0, 16_000, 1), (2.0, 48_000, 2), (0.2, 8_000, 1), (0.01, 16_000, 1)):
            yield f"{kind} {rate} {channels} {seconds}", encoded(voice(seconds, rate, channels), rate, kind)
        yield f"silent {kind}", silent(10, kind=kind)
        for level in (0.0, 0.3, 0.9):
            yield f"{kind} level {level}", encoded(SPEECH, kind=kind, compression_level=level)
    for mode in ("CONSTANT", "AVERAGE", "VARIABLE"):
        yield f"mp3 {mode}", encoded(SPEECH, kind="mp3", bitrate_mode=mode, compression_level=0.6)
    for subtype in ("PCM_S8", "PCM_24"):
        yield f"flac {subtype}", encoded(SPEECH, kind="flac", subtype=subtype)
    yield "flac of 8 channels", encoded(voice(1.0, 96_000, 8), 96_000, "flac", "PCM_24")
    flac, mp3 = encoded(SPEECH, kind="flac"), encoded(SPEECH, kind="mp3")
    for name, change in (("picture", with_picture), ("no MD5", without_md5), ("no length", without_length)):
        yield f"flac, {name}", change(flac)
    yield "flac as to a pipe", without_length(without_md5(flac))
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + (32).to_bytes(4, "little") + bytes(4 + 4 + 8)
    for name, data in (("flac", flac), ("mp3", mp3), ("flac, no MD5", without_md5(flac))):
        yield f"{name}, ID3v2", id3(50_000) + data
        yield f"{name}, ID3v1", data + b"TAG" + bytes(125)
        yield f"{name}, APE and ID3v1", data + ape + b"TAG" + bytes(125)
    yield "mp3, ID3v2 twice and filling", id3(500) + id3(500) + bytes(1000) + mp3 + bytes(500)
    yield "mp3 joined of two", b"".join(mp3_parts(mp3)[1]) + id3(40_000) + b"".join(mp3_parts(mp3)[1])
    yield "mp3 without a tag", b"".join(mp3_parts(mp3)[1])


def of_ffmpeg() -> Iterator[tuple[str, bytes]]:
    stereo = voice(3.0, 44_100, 2)
    for codec, kind, choices in (
        ("flac", "flac", ({}, {"compression_level": "0"}, {"compression_level": "12"}, {"sample_fmt": "s32"})),
        ("flac", "ogg", ({},)),
        ("libvorbis", "ogg", ({}, {"q:a": "0"}, {"q:a": "9"}, {"page_duration": "20000"})),
        ("libopus", "ogg", ({}, {"b:a": "12k", "frame_duration": "60"}, {"vbr": "off"}, {"page_duration": "20000"})),
        ("libopus", "ogg", ({"application": "voip", "dtx": "1"}, {"application": "lowdelay", "frame_duration": "2.5"})),
        ("libmp3lame", "mp3", ({}, {"q:a": "0"}, {"q:a": "9"}, {"abr": "1"}, {"b:a": "32k"}, {"b:a": "160k"})),
        ("libmp3lame", "mp3", ({"write_id3v1": "1"}, {"id3v2_version": "3"}, {"reservoir": "0"}, {"ar": "8000"})),
        (
            "libmp3lame",
            "mp3",
            ({"write_xing": "0"}, {"write_xing": "0", "q:a": "2"}, {"write_xing": "0", "b:a": "160k"}),
        ),
        ("mp2", "mp2", ({}, {"b:a": "64k"})),
    ):
        for options in choices:
            named = options if kind == "mp2" else {"metadata": "title=A title", **options}
            yield f"{codec} {kind} {options}", m4a(SPEECH, 16_000, kind, codec, **named)
            yield f"{codec} {kind} {options} stereo", m4a(stereo, 44_100, kind, codec, **named)


def test_intact_files_of_libsndfile_are_left_alone() -> None:
    found = {name: damage(data) for name, data in of_libsndfile()}
    assert len(found) > 50
    assert {name: reason for name, reason in found.items() if reason is not None} == {}


def test_intact_files_of_ffmpeg_are_left_alone() -> None:
    needs_ffmpeg()
    found = {name: damage(data) for name, data in of_ffmpeg()}
    assert len(found) > 50
    assert {name: reason for name, reason in found.items() if reason is not None} == {}


@pytest.mark.reference
@needs_corpus
def test_clips_of_the_corpus_are_left_alone() -> None:
    files = sorted(CORPUS.glob("ASVspoof2019_LA_*/flac/*.flac"))
    files = files[:: len(files) // 200][:200]
    assert len(files) == 200
    assert [file.name for file in files if find_damage(file) is not None] == []


@pytest.mark.parametrize("data", [b"no audio", encoded(SPEECH), encoded(SPEECH, kind="aiff")])
def test_of_formats_without_checks_nothing_is_said(data: bytes) -> None:
    assert damage(data) is None


# Damage.


def test_what_is_wrong_with_a_flac_is_said() -> None:
    data = encoded(SPEECH, kind="flac")
    before, frames, _ = flac_parts(data)
    assert len(frames) > 20

    def of(*parts: bytes) -> str | None:
        return damage(before + b"".join(parts))

    assert of(*frames) is None
    assert of(*frames[:5], *frames[6:]) == "frame 5 is followed by one of number 6 where 5 was due"
    assert of(*frames[:5], *frames[4:]) == "frame 5 is followed by one of number 4 where 5 was due"
    assert of(*frames, frames[-1]) is not None
    assert of(*frames[1:]) == "it begins with a frame of number 1"
    assert of(*frames[:-1]) is not None
    broken = bytearray(frames[7])
    broken[len(broken) // 2] ^= 4
    assert "wrong checksum" in str(of(*frames[:7], bytes(broken), *frames[8:]))
    last = bytearray(frames[-1])
    last[len(last) // 2] ^= 4
    assert of(*frames[:-1], bytes(last)) is not None
    assert "its last frame" in str(damage(without_md5(before + b"".join(frames[:-1]) + bytes(last))))
    assert "MD5" in str(damage(patched(data, 30, b"\0\1\2\3")))
    assert "sample rates" in str(damage(patched(data, 18, (44_100 << 4 | data[20] & 15).to_bytes(3, "big"))))
    assert "samples and not the" in str(damage(patched(data, 25, bytes([data[25] ^ 1]))))


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_what_is_wrong_with_an_ogg_is_said(kind: str) -> None:
    before, pages, _ = ogg_parts(encoded(voice(20.0), kind=kind))

    def of(*parts: bytes) -> str | None:
        return damage(before + b"".join(parts))

    first = int.from_bytes(pages[0][18:22], "little")
    assert of(*pages) is None
    assert of(*pages[:2], *pages[3:]) == f"page {first + 3} stands where page {first + 2} was due"
    assert of(*pages[:3], *pages[2:]) == f"page {first + 2} stands where page {first + 3} was due"
    assert "not marked as the end" in str(of(*pages[:-1]))
    assert of(*pages, b"something") == "there are bytes between its pages or behind them"
    assert of(*pages, b"TAG" + bytes(125)) is None
    broken = bytearray(pages[2])
    broken[-5] ^= 1
    assert of(*pages[:2], bytes(broken), *pages[3:]) == f"page {first + 2} has a wrong checksum"
    assert of(*pages, pages[-1]) is not None
    # A program that takes out a page and numbers the others anew leaves a gap in their positions.
    moved = []
    for page in pages[3:]:
        number = int.from_bytes(page[18:22], "little") - 1
        moved.append(bytes(with_checksum(bytearray(patched(page, 18, number.to_bytes(4, "little"))))))
    assert "does not hold as much audio" in str(of(*pages[:2], *moved)) or "go on where" in str(of(*pages[:2], *moved))
    back = patched(pages[3], 6, pages[0][6:14])
    assert of(*pages[:3], bytes(with_checksum(bytearray(back))), *pages[4:]) is not None


def test_two_streams_one_after_the_other_are_checked_each() -> None:
    one, other = encoded(SPEECH, kind="ogg"), encoded(voice(2.0), kind="ogg")
    pages = ogg_pages(other)
    for page in pages:
        page[14:18] = b"next"
        with_checksum(page)
    assert damage(one + b"".join(pages)) is None
    assert damage(one + b"".join(pages[:2] + pages[3:])) is not None


def test_what_is_wrong_with_an_mp3_is_said() -> None:
    before, frames, _ = mp3_parts(encoded(voice(6.0, 44_100), 44_100, kind="mp3"))

    def of(*parts: bytes) -> str | None:
        return damage(before + b"".join(parts))

    count = len(frames)
    assert of(*frames) is None
    assert of(*frames[:5], *frames[6:]) == f"there are {count - 1} frames of the {count} that its first frame states"
    assert of(*frames[:5], *frames[4:]) == f"there are {count + 1} frames of the {count} that its first frame states"
    assert of(*frames[:5], bytes(300), *frames[5:]) == "what follows frame 5 is no frame"
    assert of(*frames[:5], b"\1" * 50, *frames[5:]) == "what follows frame 5 is no frame"
    assert of(*frames[:-1], frames[-1][:-20]) == f"its last frame, number {count}, is cut off"
    broken = frames[9][:-9] + b"damage in" if frames[9][-9:] != b"damage in" else b""
    assert "checksum" in str(of(*frames[:9], broken, *frames[10:]))
    assert "checksum" in str(of(*frames[:5], frames[6], frames[5], *frames[7:]))


def test_frames_missing_from_an_mp3_without_a_tag_leave_their_successors_without_what_they_refer_to() -> None:
    _, frames, _ = mp3_parts(encoded(voice(6.0), kind="mp3"))
    found = [damage(b"".join([*frames[:at], *frames[at + 3 :]])) for at in range(5, len(frames) - 5, 4)]
    told = [reason for reason in found if reason is not None]
    assert len(told) > len(found) // 3
    assert all("is not the one after frame" in reason for reason in told)


def run(kind: str, count: int) -> None:
    command = [sys.executable, "-m", "tests.audio.frame_damage", kind, str(count)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800, check=True)
    result = json.loads(done.stdout)
    print(kind, result)
    assert result["share"] >= LEAST_TOLD[kind]
    assert result["tally"]["damaged"] > count // 5


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_to_frames_is_told(kind: str) -> None:
    run(kind, 100)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", FORMATS)
def test_damage_to_frames_is_told_of_three_thousand(kind: str) -> None:
    run(kind, 3_000)


# The status.


def test_a_damaged_recording_is_scored_and_says_so(tmp_path: Path) -> None:
    before, frames, _ = mp3_parts(encoded(made_speech(20.0), kind="mp3"))
    path = tmp_path / "call.mp3"
    path.write_bytes(before + b"".join([*frames[:3], *frames[4:]]))
    with toy.registered():
        detector = Detector(toy.toy_weights())
        for source in (path, io.BytesIO(path.read_bytes())):
            for is_published in (True, False):
                result = detector.score(source, published=is_published)
                assert result.status == "damaged"
                assert result.score is not None
            assert result.label == "unsure"
            assert "damaged" in result.reasons
            assert "damaged" in detector.timeline(source).score.reasons
        path.write_bytes(before + b"".join(frames))
        assert detector.score(path).status == "ok"


@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg"])
def test_a_long_recording_is_checked_in_bounded_memory_and_little_time(kind: str) -> None:
    data = encoded(voice(300.0), kind=kind)
    damage(encoded(SPEECH, kind=kind))  # tables are built once
    tracemalloc.start()
    start = time.process_time()
    assert damage(data) is None
    taken = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20
    assert taken < 3.0
