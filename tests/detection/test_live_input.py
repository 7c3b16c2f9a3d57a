"""Live audio: chunks come as they are, from a microphone or standard input, and what is wrong is one line."""

import os
import sys
import threading
import types
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aasist_jax.detection import live_input
from aasist_jax.errors import AudioError
from tests.audio.recordings import encoded, voice


class Microphones(types.ModuleType):
    """As much of sounddevice as is used: a device that hands over ten chunks, and one that does not exist."""

    class PortAudioError(Exception):
        pass

    class InputStream:
        def __init__(self, rate: int, block: int, *, device: Any, channels: int, dtype: str, callback: Any) -> None:
            if device == 7:
                raise Microphones.PortAudioError("Error querying device 7")
            assert (dtype, device) == ("float32", "USB")
            self.chunk, self.callback = np.zeros((block, channels), np.float32), callback

        def __enter__(self) -> None:
            for i in range(10):
                self.chunk[:] = i  # the device uses its buffer again
                self.callback(self.chunk, len(self.chunk), None, None)

        def __exit__(self, *_: object) -> None:
            pass


def test_a_microphone_hands_over_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Microphones("sounddevice"))
    chunks: list[np.ndarray] = []
    for chunk in live_input.microphone(48_000, 2, "USB", lambda: len(chunks) == 10):
        chunks.append(chunk)
    assert [chunk.shape for chunk in chunks] == [(4800, 2)] * 10
    assert [chunk[0, 0] for chunk in chunks] == list(range(10))
    with pytest.raises(AudioError, match="--microphone: Error querying device 7"):
        next(live_input.microphone(48_000, 2, "7", lambda: False))
    monkeypatch.setattr(live_input, "MICROPHONE_BACKLOG", 5)
    with pytest.raises(AudioError, match="too slow"):
        next(live_input.microphone(48_000, 2, "USB", lambda: False))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match=r"pip install 'aasist-jax\[microphone\]'"):
        next(live_input.microphone(48_000, 2, None, lambda: False))


def read_in_pieces(monkeypatch: pytest.MonkeyPatch, content: bytes, piece: int) -> Iterator[np.ndarray]:
    """What comes from standard input as 16-bit mono, where it is a pipe that is written piece by piece."""
    read, write = os.pipe()

    def feed() -> None:
        with os.fdopen(write, "wb", buffering=0) as pipe:
            for start in range(0, len(content), piece):
                try:
                    pipe.write(content[start : start + piece])
                except BrokenPipeError:
                    return

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False, fileno=lambda: read))
    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield from live_input.standard_input("s16le", 1, lambda: False)
    finally:
        os.close(read)
        feeder.join()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        *((kind, "a WAV file") for kind in ("wav", "rf64", "wavex")),
        *(("aiff", "an AIFF file"), ("flac", "a FLAC file"), ("mp3", "an MP3 file"), ("au", "an AU file")),
        *((kind, "an Ogg file") for kind in ("ogg", "opus")),
        *(("caf", "a CAF file"),),
    ],
)
@pytest.mark.parametrize("piece", [5, 1 << 16])
def test_a_file_on_standard_input_is_recognised(
    monkeypatch: pytest.MonkeyPatch, kind: str, told: str, piece: int
) -> None:
    """`listen < file.wav` (a WAV, not raw PCM): recognised, and refused with the command that is right."""
    content = encoded(voice(1.0), kind=kind)
    if kind == "mp3" and piece == 5:
        content = b"ID3\x04\0\0\0\0\0\0" + content
    with pytest.raises(AudioError) as caught:
        list(read_in_pieces(monkeypatch, content, piece))
    assert str(caught.value) == (
        f"standard input: {told}, not raw samples; score it with `aasist-jax timeline FILE`, or decode it on the way: "
        "ffmpeg -i - -f s16le -ac 1 -ar 16000 - | aasist-jax listen"
    )


def test_video_containers_and_streams_are_recognised() -> None:
    for start, told in (
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "an MP4 or M4A file"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81", "a WebM or Matroska file"),
        (b"#!AMR\n\x3c\0\0\0\0\0", "an AMR file"),
    ):
        assert live_input.file_format(start) == told


@pytest.mark.parametrize("piece", [1, 5, 1 << 16])
@pytest.mark.parametrize("length", [0, 2, 10, 12, 4000])
def test_raw_samples_come_as_they_are(monkeypatch: pytest.MonkeyPatch, length: int, piece: int) -> None:
    """However they are cut, and though they begin as an MPEG frame does: one alone is chance."""
    content = (b"\xff\xfb\x90\x64" + np.random.default_rng(0).bytes(4000))[:length]
    chunks = [np.zeros((0, 1), "<i2"), *read_in_pieces(monkeypatch, content, piece)]
    assert np.concatenate(chunks).tobytes() == content
    with pytest.raises(AudioError, match="ends 1 bytes into a sample of 2"):
        list(read_in_pieces(monkeypatch, content + b"x", piece))
