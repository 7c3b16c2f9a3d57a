"""Decoding, resampling and windows: exactness where the format allows it, one clear line where the input is bad."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.audio import sound_file
from aasist_jax.audio.limits import SAMPLE_RATE, Limits
from aasist_jax.audio.load import (
    AudioInfo,
    inspect_audio,
    iter_audio,
    load_audio,
    load_channels,
    load_start,
    to_mono_16k,
)
from aasist_jax.errors import AudioError
from tests.audio.recordings import encoded, voice


def tone(seconds: float, rate: int, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def pcm16(samples: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-32768, 32768, (samples, *shape), dtype=np.int16)


def fails(source: object, match: str, **options: object) -> None:
    """load_audio raises an AudioError of one line that says `match`."""
    with pytest.raises(AudioError, match=match) as caught:
        load_audio(source, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
def test_sixteen_bit_samples_pass_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    samples = pcm16(50_000)
    soundfile.write(tmp_path / f"a.{suffix}", samples, SAMPLE_RATE, subtype="PCM_16")
    wave = load_audio(tmp_path / f"a.{suffix}")
    assert wave.dtype == np.float32
    np.testing.assert_array_equal(wave, samples.astype(np.float32) / 32768)
    np.testing.assert_array_equal(wave, to_mono_16k(samples, SAMPLE_RATE))


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [("mp3", "MPEG_LAYER_III", 0.02), ("ogg", "VORBIS", 0.02), ("opus", "OPUS", 0.05)],
)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_lossy_formats(tmp_path: Path, suffix: str, subtype: str, tolerance: float, rate: int) -> None:
    path = tmp_path / f"a.{suffix}"
    kind = "MP3" if suffix == "mp3" else "OGG"
    soundfile.write(path, tone(2.0, rate), rate, format=kind, subtype=subtype)
    wave = load_audio(path)
    assert wave.size == pytest.approx(2 * SAMPLE_RATE, abs=2)
    inner = slice(SAMPLE_RATE // 2, -SAMPLE_RATE // 2)
    np.testing.assert_allclose(wave[inner], tone(2.0, SAMPLE_RATE)[: wave.size][inner], atol=tolerance)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_keeps_a_tone(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0, rate), rate, subtype="FLOAT")
    wave = load_audio(tmp_path / "a.wav")
    assert wave.size == pytest.approx(SAMPLE_RATE, abs=1)
    np.testing.assert_allclose(wave[2000:-2000], tone(1.0, SAMPLE_RATE)[2000:14_000], atol=1e-4)


def test_resampling_removes_what_lies_above_the_new_band() -> None:
    assert np.abs(to_mono_16k(tone(1.0, 48_000, 12_000.0), 48_000)[1000:-1000]).max() < 1e-4


def test_channels_are_averaged(tmp_path: Path) -> None:
    samples = pcm16(1000, 3)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE)
    expected = samples.mean(axis=1) / 32768
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), expected, atol=2**-24)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_block_size_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    samples = pcm16(70_001, 2)
    soundfile.write(tmp_path / "a.flac", samples, rate)
    whole = load_audio(tmp_path / "a.flac")
    monkeypatch.setattr(sound_file, "BLOCK_VALUES", 6_000)
    np.testing.assert_array_equal(load_audio(tmp_path / "a.flac"), whole)
    np.testing.assert_array_equal(to_mono_16k(samples, rate), whole)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "opus"])
def test_lossy_formats_are_decoded_alike_in_blocks(
    suffix: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = encoded(voice(20.0), kind=suffix)
    whole = load_audio(io.BytesIO(data))
    monkeypatch.setattr(sound_file, "BLOCK_VALUES", 10_000)
    np.testing.assert_array_equal(load_audio(io.BytesIO(data)), whole)
    assert capfd.readouterr().err == ""  # a decoder that loses its place says so


def test_the_whole_is_the_blocks_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_file, "BLOCK_VALUES", 6_000)
    soundfile.write(tmp_path / "a.flac", pcm16(70_001, 2), 44_100)
    blocks = list(iter_audio(tmp_path / "a.flac"))
    assert len(blocks) > 20
    assert all(0 < block.size <= 3_000 for block in blocks)
    whole = load_audio(tmp_path / "a.flac")
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    start, length = load_start(tmp_path / "a.flac", 5_000)
    np.testing.assert_array_equal(start, whole[:5_000])
    assert length == whole.size
    start, length = load_start(tmp_path / "a.flac", 10**6)
    np.testing.assert_array_equal(start, whole)
    assert length == whole.size
    with pytest.raises(ValueError, match="at least 1"):
        load_start(tmp_path / "a.flac", 0)


def test_blocks_come_before_the_file_is_decoded_and_a_late_fault_still_counts(tmp_path: Path) -> None:
    samples = np.zeros(2_000_000, np.float32)
    samples[:-1] = 0.1
    samples[-1] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    blocks = iter_audio(tmp_path / "a.wav")
    assert next(blocks).size < 300_000
    with pytest.raises(AudioError, match="NaN"):
        list(blocks)
    with pytest.raises(AudioError, match="NaN"):
        load_start(tmp_path / "a.wav", 100)


def test_an_abandoned_recording_is_closed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", pcm16(600_000), SAMPLE_RATE)
    opened = set(os.listdir("/proc/self/fd"))
    blocks = iter_audio(tmp_path / "a.wav")
    next(blocks)
    assert len(os.listdir("/proc/self/fd")) == len(opened) + 1
    blocks.close()
    assert set(os.listdir("/proc/self/fd")) == opened


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_each_channel_alone(tmp_path: Path, rate: int) -> None:
    samples = pcm16(30_000, 3)
    soundfile.write(tmp_path / "a.flac", samples, rate)
    waves = list(load_channels(tmp_path / "a.flac"))
    assert len(waves) == 3
    for channel, wave in enumerate(waves):
        alone = to_mono_16k(samples[:, channel], rate)
        np.testing.assert_array_equal(wave, alone)
        np.testing.assert_array_equal(load_audio(tmp_path / "a.flac", channel=channel), alone)
        np.testing.assert_array_equal(to_mono_16k(samples, rate, channel=channel), alone)
    for bad in (3, -1):
        with pytest.raises(AudioError, match=f"no channel {bad}; there are 3, counted from 0"):
            load_audio(tmp_path / "a.flac", channel=bad)
        with pytest.raises(AudioError, match=f"no channel {bad}"):
            to_mono_16k(samples, rate, channel=bad)


def test_a_fault_in_another_channel_is_not_heard() -> None:
    samples = np.stack([tone(0.1, SAMPLE_RATE), np.full(1600, np.nan, np.float32)], axis=1)
    np.testing.assert_array_equal(to_mono_16k(samples, SAMPLE_RATE, channel=0), samples[:, 0])
    for channel in (None, 1):
        with pytest.raises(AudioError, match="NaN"):
            to_mono_16k(samples, SAMPLE_RATE, channel=channel)


def test_file_objects_and_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "no suffix é"
    soundfile.write(path, pcm16(5000), SAMPLE_RATE, format="FLAC")
    raw = tmp_path / "a.raw"
    raw.write_bytes(path.read_bytes())
    wave = load_audio(path)
    stream = io.BytesIO(path.read_bytes())
    stream.seek(0, io.SEEK_END)
    np.testing.assert_array_equal(load_audio(stream), wave)
    assert not stream.closed
    np.testing.assert_array_equal(load_audio(str(raw)), wave)
    with path.open("rb") as file:
        np.testing.assert_array_equal(load_audio(file), wave)


def test_inspect_reads_the_header(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", pcm16(22_050, 2), 44_100)
    info = inspect_audio(tmp_path / "a.wav")
    assert info == AudioInfo(sample_rate=44_100, channels=2, frames=22_050)
    assert info.seconds == 0.5


def test_paths_that_are_no_audio(tmp_path: Path) -> None:
    fails(tmp_path / "none.wav", r"none\.wav: no such file")
    fails(tmp_path, "is a folder")
    (tmp_path / "empty.wav").touch()
    fails(tmp_path / "empty.wav", r"empty\.wav: the file is empty")
    (tmp_path / "text\n.wav").write_text("this is text, " * 100)
    fails(tmp_path / "text\n.wav", r"text\\n\.wav.: not audio")
    os.mkfifo(tmp_path / "pipe.wav")
    fails(tmp_path / "pipe.wav", "not a file")
    (tmp_path / "samples.raw").write_bytes(bytes(1000))
    fails(tmp_path / "samples.raw", "cannot be read|not audio")


def test_streams_that_are_no_audio(tmp_path: Path) -> None:
    fails(io.StringIO("text"), "binary mode")
    fails(io.BytesIO(b""), "audio stream: the file is empty")
    closed = io.BytesIO(b"RIFF")
    closed.close()
    fails(closed, "cannot be read")


def test_zero_frames(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.int16), SAMPLE_RATE)
    fails(tmp_path / "a.wav", "no samples")
    with pytest.raises(AudioError, match="no samples"):
        inspect_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_samples(tmp_path: Path, bad: float) -> None:
    samples = np.zeros(1000, np.float32)
    samples[500] = bad
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    fails(tmp_path / "a.wav", "NaN or infinite")
    with pytest.raises(AudioError, match="NaN or infinite"):
        to_mono_16k(samples, 8_000)


def test_sums_beyond_float32() -> None:
    with pytest.raises(AudioError, match="infinite"):
        to_mono_16k(np.full((100, 2), 3e38, np.float32), SAMPLE_RATE)
    with pytest.raises(AudioError, match="infinite"):
        to_mono_16k(np.full(100, 1e300), SAMPLE_RATE)
    ringing = np.full(4000, 3.4e38, np.float32) * np.where(np.arange(4000) // 40 % 2, 1, -1).astype(np.float32)
    with pytest.raises(AudioError, match="too large"):
        to_mono_16k(ringing, 44_100)


@pytest.mark.parametrize("rate", [3_999, 384_001])
def test_rates_out_of_range(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", pcm16(1000), rate)
    fails(tmp_path / "a.wav", f"{rate} Hz")
    with pytest.raises(AudioError, match=f"{rate} Hz"):
        to_mono_16k(pcm16(1000), rate)


def test_too_many_channels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", pcm16(100, 33), SAMPLE_RATE)
    fails(tmp_path / "a.wav", "33 channels")
    soundfile.write(tmp_path / "b.wav", pcm16(100, 32), SAMPLE_RATE)
    assert load_audio(tmp_path / "b.wav").shape == (100,)


def test_longer_than_the_limit(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", pcm16(8001), 8_000)
    fails(tmp_path / "a.wav", "longer than the limit of 1 s", limits=Limits(seconds=1.0))
    soundfile.write(tmp_path / "b.wav", pcm16(8000), 8_000)
    assert load_audio(tmp_path / "b.wav", limits=Limits(seconds=1.0)).size == 16_000


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "mp3"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(5.0, SAMPLE_RATE), SAMPLE_RATE)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 1])
    fails(path, "truncated|wrong stated length")


def test_headers_that_promise_too_much_allocate_nothing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", pcm16(5000), SAMPLE_RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] |= 0x0F  # the 36-bit count of samples in STREAMINFO: all ones, 256 GiB as float32
    data[22:26] = b"\xff" * 4
    fails(io.BytesIO(bytes(data)), "longer than the limit")


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_FFFF])
def test_wav_written_to_a_pipe_has_no_length_and_is_read(tmp_path: Path, length: int) -> None:
    samples = pcm16(5000)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    assert data[36:40] == b"data"
    data[40:44] = struct.pack("<I", length)
    np.testing.assert_array_equal(load_audio(io.BytesIO(bytes(data))), samples.astype(np.float32) / 32768)


def test_mp3_without_length_is_never_read_in_part(tmp_path: Path) -> None:
    # A quiet start makes the estimate from the first frame too high, a loud one too low.
    loud = 0.3 * np.random.default_rng(0).standard_normal(5 * SAMPLE_RATE).astype(np.float32)
    quiet = 1e-3 * tone(5.0, SAMPLE_RATE)
    for halves in ([loud, quiet], [quiet, loud]):
        stream = io.BytesIO()
        soundfile.write(
            stream, np.concatenate(halves), SAMPLE_RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=0.3
        )
        data = stream.getvalue()
        assert load_audio(io.BytesIO(data)).size == 10 * SAMPLE_RATE
        assert b"Xing" in data[:200]
        second_frame = data.index(data[:2], 100)
        fails(io.BytesIO(data[second_frame:]), "MP3 without a length tag")


def test_arrays_in_memory() -> None:
    np.testing.assert_array_equal(
        to_mono_16k(np.array([-(2**31), 2**30], np.int32), SAMPLE_RATE), np.float32([-1, 0.5])
    )
    np.testing.assert_array_equal(to_mono_16k(np.array([0.5, -2.0]), SAMPLE_RATE), np.float32([0.5, -2.0]))
    np.testing.assert_array_equal(
        to_mono_16k(np.array([[1.0, 0.0], [0.0, -1.0]], np.float32), SAMPLE_RATE), np.float32([0.5, -0.5])
    )


def test_an_array_is_not_changed() -> None:
    samples = np.ones(100, np.float32)
    to_mono_16k(samples, SAMPLE_RATE)[:] = 0
    assert samples.all()


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((2, 3, 4), np.float32), r"expected \(samples,\) or \(samples, channels\)"),
        (np.zeros((), np.float32), "expected"),
        (np.zeros((2, 16_000), np.float32), "transpose"),
        (np.zeros((100, 33), np.float32), "33 channels"),
        (np.zeros((100, 0), np.float32), "0 channels"),
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros(100, np.uint8), "uint8"),
        (np.zeros(100, np.complex64), "complex64"),
    ],
)
def test_arrays_that_are_no_audio(array: np.ndarray, match: str) -> None:
    with pytest.raises(AudioError, match=match):
        to_mono_16k(array, SAMPLE_RATE)
