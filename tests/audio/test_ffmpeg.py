"""AAC in M4A files and bare, by each FFmpeg there is: what is heard, and that nothing else is read."""

import gzip
import io
import os
import re
import subprocess
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.audio import ffmpeg as door
from aasist_jax.audio.ffmpeg_process import ChildLimits
from aasist_jax.audio.limits import Limits
from aasist_jax.audio.load import AudioInfo, inspect_audio, iter_audio, load_audio, load_channels
from aasist_jax.audio.mp4 import MAX_PACKETS
from aasist_jax.audio.source import TO_THE_END, TrackIndex
from aasist_jax.errors import AudioError
from tests.audio.catalogue import box_at, m4a_bomb, many_packets, patched
from tests.audio.recordings import m4a

pytestmark = pytest.mark.usefixtures("ffmpeg")


def tone(seconds: float, rate: int, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("kind", ["ipod", "mp4", "mov", "adts"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_tone_is_heard_as_it_was(kind: str, rate: int) -> None:
    data = m4a(tone(3.0, rate), rate, kind)
    wave = load_audio(io.BytesIO(data))
    # Bare AAC keeps what the encoder lets run ahead, and what it fills its last frame with.
    late = 1024 / rate if kind == "adts" else 0.0
    assert 3.0 <= wave.size / 16_000 - late <= 3.0 + 1024 / rate
    time = np.arange(wave.size) / 16_000 - late
    np.testing.assert_allclose(wave[8_000:40_000], 0.5 * np.sin(2 * np.pi * 440 * time)[8_000:40_000], atol=0.02)


def test_the_header_is_told() -> None:
    data = m4a(np.stack([tone(2.0, 44_100), np.zeros(88_200)], axis=1), 44_100)
    assert inspect_audio(io.BytesIO(data)) == AudioInfo(44_100, 2, 88_200)


def test_channels_are_kept_apart() -> None:
    data = m4a(np.stack([tone(2.0, 16_000), tone(2.0, 16_000, 700.0)], axis=1))
    left, right = load_channels(io.BytesIO(data))
    for wave, frequency in ((left, 440), (right, 700)):
        spectrum = np.abs(np.fft.rfft(wave[:32_000]))
        assert abs(np.argmax(spectrum) / 2 - frequency) < 1
    np.testing.assert_allclose(load_audio(io.BytesIO(data)), (left + right) / 2, atol=1e-6)


def test_a_long_recording_comes_in_blocks() -> None:
    data = m4a(tone(60.0, 16_000))
    blocks = list(iter_audio(io.BytesIO(data)))
    assert len(blocks) > 3
    assert max(block.size for block in blocks) < (1 << 18) + 2048


def test_a_path_and_a_stream_are_heard_alike(tmp_path: Path) -> None:
    data = m4a(tone(1.0, 16_000))
    path = tmp_path / "a.wav"  # the suffix has no say
    path.write_bytes(data)
    np.testing.assert_array_equal(load_audio(path), load_audio(io.BytesIO(data)))
    with path.open("rb") as file:
        np.testing.assert_array_equal(load_audio(file), load_audio(path))


def test_any_file_object_that_can_seek_is_heard_from_its_start(tmp_path: Path) -> None:
    data = m4a(tone(1.0, 16_000))
    path = tmp_path / "a.m4a"
    path.write_bytes(data)
    expected = load_audio(path)
    with ExitStack() as opened:
        files = [opened.enter_context(path.open("rb")), opened.enter_context(path.open("rb", buffering=0))]
        files.append(opened.enter_context(path.open("r+b")))
        # Its descriptor is one of the compressed bytes.
        (tmp_path / "a.gz").write_bytes(gzip.compress(data))
        files.append(opened.enter_context(gzip.open(tmp_path / "a.gz")))
        path.unlink()
        for file in files:
            file.seek(100)
            np.testing.assert_array_equal(load_audio(file), expected)
            assert not file.closed


def test_the_encoders_delay_and_filling_are_not_heard() -> None:
    for seconds in (0.2, 1.0, 2.345):
        assert load_audio(io.BytesIO(m4a(tone(seconds, 16_000)))).size == round(seconds * 16_000)


def test_a_truncated_container_without_an_end_is_refused() -> None:
    """An `mdat` of size 0 reaches to the end of the file, wherever that is; the cut is between two packets."""
    data = m4a(tone(2.0, 16_000), movflags="faststart")
    sizes = box_at(data, b"stsz")
    packets = int.from_bytes(data[sizes + 8 : sizes + 12], "big")
    last = int.from_bytes(data[sizes + 8 + 4 * packets : sizes + 12 + 4 * packets], "big")
    open_ended = patched(data, box_at(data, b"mdat") - 8, bytes(4))
    assert load_audio(io.BytesIO(open_ended)).size == 32_000
    with pytest.raises(AudioError, match=f"{packets - 1} of {packets} packets are there: damaged or truncated"):
        load_audio(io.BytesIO(open_ended[:-last]))


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (16_000, 2)])
def test_a_change_on_the_way_is_refused_and_not_resampled(rate: int, channels: int) -> None:
    other = m4a(np.stack([tone(1.0, rate)] * channels, axis=1), rate, "adts")
    with pytest.raises(AudioError, match="changes its sample rate or channels on the way"):
        load_audio(io.BytesIO(m4a(tone(1.0, 16_000), kind="adts") + other))


def test_a_decoder_that_gives_less_than_the_index_states_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data = m4a(tone(2.0, 16_000))
    arguments = door._arguments

    def shortened(container: door.Container, source: int) -> list[str]:
        return ["-t", "1", *arguments(container, source)]

    monkeypatch.setattr(door, "_arguments", shortened)
    with pytest.raises(AudioError, match=r"1\.\d\d s can be decoded of 2\.11 s that its index states"):
        load_audio(io.BytesIO(data))


def children() -> set[int]:
    return set(map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()))


def test_an_abandoned_recording_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(m4a(tone(60.0, 16_000)))
    opened, started = set(os.listdir("/proc/self/fd")), children()
    for source in (path, io.BytesIO(path.read_bytes())):
        blocks = iter_audio(source)
        next(blocks)
        assert len(children() - started) == 1
        blocks.close()
        assert children() == started
        assert set(os.listdir("/proc/self/fd")) == opened
    inspect_audio(path)
    load_audio(path)
    assert children() == started
    assert set(os.listdir("/proc/self/fd")) == opened


def test_the_most_packets_that_an_index_may_list_take_half_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    data = many_packets(MAX_PACKETS).replace(b"edts", b"free")
    monkeypatch.setattr(door, "CHILD_LIMITS", ChildLimits(memory_bytes=ChildLimits().memory_bytes // 2))
    with pytest.raises(AudioError, match="longer than the limit of 14400 s"):
        load_audio(io.BytesIO(data))
    # Some versions find no packets where they get no memory for the index, and say nothing.
    monkeypatch.setattr(door, "CHILD_LIMITS", ChildLimits(memory_bytes=64 << 20))
    unlimited = Limits(seconds=1e9, decoded_values=1 << 50, output_samples=1 << 50, values_per_byte=1e9)
    with pytest.raises(AudioError, match=r"ffmpeg would take over 64 MiB of memory|0\.00 s can be decoded of"):
        load_audio(io.BytesIO(data), limits=unlimited)


def test_a_bomb_that_got_past_the_check_of_the_index_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg notes each of the 25,000,000 packets that 20 KB state: 600 MB, before it decodes the first."""
    unchecked = replace(door.CONTAINERS[0], index=lambda raw, name: TrackIndex(16_000, 32_000, 0, ((0, TO_THE_END),)))
    monkeypatch.setattr(door, "CONTAINERS", (unchecked,))
    bomb = m4a_bomb(25_000_000)
    with pytest.raises(AudioError, match=r"ffmpeg would take over 512 MiB of memory|holds no samples"):
        load_audio(io.BytesIO(bomb))
    monkeypatch.setattr(door, "CHILD_LIMITS", ChildLimits(memory_bytes=1 << 30))
    with pytest.raises(AudioError, match="cannot be decoded"):
        load_audio(io.BytesIO(bomb))


def test_what_an_edit_list_hides_is_held_to_the_limits_before_it_is_decoded() -> None:
    data = many_packets(1 << 20)
    start = time.process_time()
    with pytest.raises(AudioError, match="longer than the limit of 14400 s"):
        load_audio(io.BytesIO(data))
    assert time.process_time() - start < 5


def reference_to(path: Path) -> bytes:
    """A data reference of the kind `alis` (QuickTime), which names another file by its absolute path."""
    target = str(path).encode()
    content = bytes(10) + b"\4disk".ljust(28, b"\0") + bytes(12)
    content += bytes([len(path.name)]) + path.name.encode().ljust(63, b"\0") + bytes(16)
    content += (0).to_bytes(2, "big") * 2 + bytes(16)
    content += (2).to_bytes(2, "big") + len(target).to_bytes(2, "big") + target + b"\0" * (len(target) % 2)
    content += b"\xff\xff\0\0" + bytes(16)
    return (12 + len(content)).to_bytes(4, "big") + b"alis" + bytes(4) + content


def refers_to(path: Path, data: bytes) -> bytes:
    """An M4A whose own audio is zeros, and whose index says that the audio is in another file."""
    entry = data.index(b"dref") + 12
    grown = data[:entry] + reference_to(path) + data[entry + 12 :]
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = grown.index(box) - 4
        size = int.from_bytes(grown[at : at + 4], "big") + len(grown) - len(data)
        grown = patched(grown, at, size.to_bytes(4, "big"))
    audio = box_at(data, b"mdat")
    return patched(grown, audio, bytes(data.index(b"moov") - 4 - audio))


def test_a_file_that_the_index_refers_to_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = m4a(tone(1.0, 16_000), kind="mov")
    other = tmp_path / "other.mov"
    other.write_bytes(data)
    harmful = refers_to(other, data)
    with pytest.raises(AudioError):
        load_audio(io.BytesIO(harmful))
    # The same file through the same door, with references allowed, is heard: it is the options that forbid it.
    arguments = door._arguments

    def trusting(container: door.Container, source: int) -> list[str]:
        words = arguments(container, source)
        for option in ("-enable_drefs", "-use_absolute_path"):
            words[words.index(option) + 1] = "1"
        return words

    monkeypatch.setattr(door, "_arguments", trusting)
    np.testing.assert_array_equal(load_audio(io.BytesIO(harmful)), load_audio(other))


def test_no_other_protocol_is_open_to_it(ffmpeg: str) -> None:
    words = door._arguments(door.CONTAINERS[0], 0)
    words[words.index("-i") + 1] = "http://127.0.0.1:9/a.m4a"
    done = subprocess.run([ffmpeg, *words], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search("Protocol '?http'? not on whitelist", done.stderr)
