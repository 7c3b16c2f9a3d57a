"""What browsers, phones and meeting tools record: WebM, Matroska, WMA, AMR, GSM and ALAC, by each FFmpeg there is."""

import io
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.audio import ffmpeg_process
from aasist_jax.audio.ffmpeg import CONTAINERS, find_container
from aasist_jax.audio.limits import Limits
from aasist_jax.audio.load import inspect_audio, load_audio
from aasist_jax.audio.matroska import MAX_ELEMENTS, read_matroska
from aasist_jax.audio.phone import read_amr
from aasist_jax.detection.inputs import find_recordings
from aasist_jax.errors import AudioError
from tests.audio.catalogue import patched
from tests.audio.recordings import PROGRAMS, encoded, m4a, voice

SECONDS = 3.0


def tone(rate: int = 16_000) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(SECONDS * rate)) / rate)


def gsm() -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, tone(8_000), 8_000, format="RAW", subtype="GSM610")
    return stream.getvalue()


def ms_recorder() -> bytes:
    """As a browser writes WebM: neither length nor index, and clusters of unknown size."""
    data = bytearray(m4a(tone(), 16_000, "webm", "libopus", live="1", cluster_time_limit="500"))
    at = data.index(b"\x1f\x43\xb6\x75")
    while at >= 0:
        size_bytes = 9 - data[at + 4].bit_length()
        data[at + 4 : at + 4 + size_bytes] = ((1 << 7 * size_bytes + 1) - 1).to_bytes(size_bytes, "big")
        at = data.find(b"\x1f\x43\xb6\x75", at + 4)
    return bytes(data)


RECORDINGS: dict[str, Callable[[], bytes]] = {
    "WebM, Opus": lambda: m4a(tone(), 16_000, "webm", "libopus"),
    "WebM, Opus, as a browser": ms_recorder,
    "WebM, Vorbis": lambda: m4a(tone(), 16_000, "webm", "libvorbis"),
    "MKV, AAC": lambda: m4a(tone(), 16_000, "matroska", "aac"),
    "MKV, FLAC": lambda: m4a(tone(), 16_000, "matroska", "flac"),
    "MKV, MP3": lambda: m4a(tone(), 16_000, "matroska", "libmp3lame"),
    "MKV, PCM": lambda: m4a(tone(), 16_000, "matroska", "pcm_s16le"),
    "ALAC": lambda: m4a(tone(), 16_000, "ipod", "alac"),
    "MP4, Opus": lambda: m4a(tone(), 16_000, "mp4", "libopus"),
    "WMA 1": lambda: m4a(tone(), 16_000, "asf", "wmav1"),
    "WMA 2": lambda: m4a(tone(), 16_000, "asf", "wmav2"),
    "AMR": lambda: m4a(tone(), 16_000, "amr", "libopencore_amrnb", ar="8000"),
    "3GP, AMR": lambda: m4a(tone(), 16_000, "3gp", "libopencore_amrnb", ar="8000"),
    "GSM": gsm,
}


def built(name: str) -> bytes:
    """A recording. Builds of FFmpeg differ in their encoders: only the want of one is a reason to skip.

    The builds of the extra have them all, so `.ci/run` fails where this reason is given.
    """
    try:
        return RECORDINGS[name]()
    except subprocess.CalledProcessError as error:
        if b"Unknown encoder" not in (error.stderr or b""):
            raise
        pytest.skip(f"an ffmpeg with an encoder for {name} is not installed")


@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_tone_is_heard_as_it_was(name: str, tmp_path: Path) -> None:
    data = built(name)
    path = tmp_path / "call.bin"  # the suffix has no say
    path.write_bytes(data)
    wave = load_audio(path)
    np.testing.assert_array_equal(load_audio(io.BytesIO(data)), wave)
    assert abs(wave.size / 16_000 - SECONDS) < 0.05
    spectrum = np.abs(np.fft.rfft(wave[8_000:40_000] * np.hanning(32_000)))
    assert abs(np.argmax(spectrum) / 2 - 440) < 1
    assert 0.4 < np.abs(wave[8_000:40_000]).max() < 0.7
    assert abs(inspect_audio(path).seconds - SECONDS) < 0.1


@pytest.mark.usefixtures("ffmpeg")
def test_alac_is_lossless() -> None:
    samples = np.round(32_768 * voice(1.0)[:, 0]) / 32_768
    wave = load_audio(io.BytesIO(m4a(samples, 16_000, "ipod", "alac", sample_fmt="s16p")))
    np.testing.assert_array_equal(wave, samples.astype(np.float32))


@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_cut_anywhere_is_not_read_in_part(name: str) -> None:
    data = built(name)
    for share in (0.3, 0.77, 0.95):
        with pytest.raises(AudioError, match=r"truncated|index|damaged"):
            load_audio(io.BytesIO(data[: int(len(data) * share) // 33 * 33 + 16]))


@pytest.mark.usefixtures("ffmpeg")
def test_a_video_call_is_heard_and_not_seen(tmp_path: Path) -> None:
    path = tmp_path / "call.webm"
    video = ["-f", "lavfi", "-i", "testsrc=duration=2:size=64x64:rate=5"]
    audio = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"]
    codecs = ["-c:v", "libvpx", "-c:a", "libopus"]
    command = [PROGRAMS[0], "-v", "error", *video, *audio, *codecs, str(path)]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE)
    if b"Unknown encoder" in done.stderr:
        pytest.skip("an ffmpeg with an encoder for video is not installed")
    assert done.returncode == 0, done.stderr
    assert load_audio(path).size == pytest.approx(32_000, abs=500)
    assert inspect_audio(path).seconds == pytest.approx(2.0, abs=0.1)


@pytest.mark.usefixtures("ffmpeg")
def test_the_same_limits_hold() -> None:
    for name in ("WebM, Opus", "WebM, Opus, as a browser", "WMA 2", "AMR", "GSM"):
        with pytest.raises(AudioError, match="longer than the limit of 2 s"):
            inspect_audio(io.BytesIO(built(name)), limits=Limits(seconds=2.0))


@pytest.mark.usefixtures("ffmpeg")
def test_another_codec_is_named() -> None:
    with pytest.raises(
        AudioError, match=r"an audio track of type ac3; in WebM files Opus, Vorbis, .* and PCM are read"
    ):
        load_audio(io.BytesIO(m4a(tone(), 16_000, "matroska", "ac3")))


@pytest.mark.skipif(not PROGRAMS, reason="the extra `ffmpeg` is not installed")
@pytest.mark.parametrize("name", RECORDINGS)
def test_our_own_look_chooses_the_container(name: str) -> None:
    container = find_container(io.BytesIO(built(name)))
    assert container is not None
    kinds = {"MKV": "WebM", "ALAC": "M4A", "MP4": "M4A", "3GP": "M4A"}
    first = name.split(",")[0].split()[0]
    assert container.name == kinds.get(first, first)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg", "opus", "aiff"])
def test_what_libsndfile_reads_is_left_to_it(kind: str) -> None:
    assert find_container(io.BytesIO(encoded(voice(1.0), kind=kind))) is None


def test_without_ffmpeg_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AASIST_JAX_FFMPEG", raising=False)
    monkeypatch.setattr(ffmpeg_process.shutil, "which", lambda program: None)
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(
        AudioError, match=r"^audio stream: GSM needs the program ffmpeg; install it .*pip install"
    ) as told:
        load_audio(io.BytesIO(gsm()))
    assert "\n" not in str(told.value)


def test_folders_are_searched_for_them(tmp_path: Path) -> None:
    names = [f"a.{suffix}" for suffix in ("webm", "mkv", "mka", "wma", "amr", "3gp", "gsm", "mov")]
    for name in [*names, "a.txt"]:
        (tmp_path / name).write_bytes(b"x")
    assert sorted(Path(each.name).name for each in find_recordings([tmp_path])) == sorted(names)


# The indices, without FFmpeg.


def element(kind: int, content: bytes) -> bytes:
    size = kind.bit_length() // 8 + (kind.bit_length() % 8 > 0)
    return kind.to_bytes(size, "big") + (len(content) | 1 << 56).to_bytes(8, "big") + content


def webm(*blocks: bytes) -> bytes:
    track = element(0x1654AE6B, element(0xAE, element(0xD7, b"\1") + element(0x83, b"\2")))
    return element(0x1A45DFA3, b"") + element(0x18538067, track + element(0x1F43B675, b"".join(blocks)))


def test_the_length_of_a_webm_is_that_of_its_last_audio_block() -> None:
    at = element(0xE7, (5000).to_bytes(4, "big"))
    audio, other = element(0xA3, b"\x81\0\x64\0ab"), element(0xA3, b"\x82\x7f\xff\0ab")
    assert read_matroska(io.BytesIO(webm(at, audio, other)), "a").ticks == 5120
    group = element(0xA0, element(0xA1, b"\x81\1\0\0ab"))
    assert read_matroska(io.BytesIO(webm(at, audio, group)), "a").ticks == 5276
    stated = webm(element(0x1549A966, element(0x4489, struct.pack(">d", 9000.0))), at, audio)
    assert read_matroska(io.BytesIO(stated), "a").ticks == 9000
    nowhere = webm(element(0x1549A966, element(0x4489, struct.pack(">d", float("inf")))), at, audio)
    assert read_matroska(io.BytesIO(nowhere), "a").ticks == 5120


def test_a_webm_of_too_many_elements_or_without_audio_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AudioError, match="holds no audio track"):
        read_matroska(io.BytesIO(webm().replace(element(0x83, b"\2"), element(0x83, b"\1"))), "a")
    assert MAX_ELEMENTS == 1 << 22
    monkeypatch.setattr("aasist_jax.audio.matroska.MAX_ELEMENTS", 100)
    with pytest.raises(AudioError, match="over 100 elements"):
        read_matroska(io.BytesIO(webm(*[element(0xEC, b"")] * 100)), "a")


def test_an_amr_of_broken_frames_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = bytes([7 << 3 | 4]) + bytes(31)
    data = b"#!AMR\n" + 50 * frame
    assert read_amr(io.BytesIO(data), "a").ticks == 50 * 160
    with pytest.raises(AudioError, match="frame 11 is none of AMR"):
        read_amr(io.BytesIO(patched(data, 6 + 320, b"\xff")), "a")
    with pytest.raises(AudioError, match="ends amid a frame"):
        read_amr(io.BytesIO(data[:-1]), "a")
    monkeypatch.setattr("aasist_jax.audio.phone.PIECE_BYTES", 37)
    assert read_amr(io.BytesIO(data), "a").ticks == 50 * 160
    wide = b"#!AMR-WB\n" + 50 * (bytes([8 << 3 | 4]) + bytes(60))
    index = read_amr(io.BytesIO(wide), "a")
    assert (index.timescale, index.ticks) == (16_000, 50 * 320)


@pytest.mark.usefixtures("ffmpeg")
def test_a_wma_whose_packets_are_missing_is_refused() -> None:
    data = m4a(tone(), 16_000, "asf", "wmav2")
    with pytest.raises(AudioError, match=r"\d+ of \d+ packets are there"):
        load_audio(io.BytesIO(data[:-3300]))
    live = data.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")) + 88
    assert inspect_audio(io.BytesIO(patched(data, live, b"\1"))).frames > 0
    assert len(CONTAINERS) == 6
