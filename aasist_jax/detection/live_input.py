"""Live audio from standard input (raw samples) or a microphone."""

import os
import queue
import re
import select
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from aasist_jax.errors import AudioError

ENCODINGS = {"s16le": "<i2", "f32le": "<f4"}
"""Encodings of raw samples on standard input, and the NumPy type of each."""

MAGIC = {
    "a WAV file": rb"(?:RIFF|RIFX|RF64|BW64).{4}WAVE",
    "an AIFF file": rb"FORM.{4}AIF[FC]",
    "a FLAC file": rb"fLaC",
    "an Ogg file": rb"OggS\0",
    "an MP3 file": rb"ID3[\x02-\x04]\0",
    "an MP4 or M4A file": rb".{4}ftyp",
    "a WebM or Matroska file": rb"\x1a\x45\xdf\xa3",
    "a CAF file": rb"caff\0\x01",
    "an AU file": rb"\.snd\0\0",
    "an AMR file": rb"#!AMR",
}
"""How the files begin that are mistaken for raw samples: patterns of the first `MAGIC_BYTES`."""

MAGIC_BYTES = 12

_MP3_RATES = (44_100, 48_000, 32_000)
_MP3_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBITS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)

READ_BYTES = 1 << 16
POLL_SECONDS = 0.2
MICROPHONE_SECONDS, MICROPHONE_BACKLOG = 0.1, 300
"""Length of a chunk from the microphone in seconds, and the most chunks that may wait to be scored."""


def standard_input(encoding: str, channels: int, stopped: Callable[[], bool]) -> Iterator[np.ndarray]:
    """Yield raw samples from standard input as (samples, channels), until it ends or `stopped` returns True.

    Raises:
        AudioError: standard input is a terminal, is a file of a known format instead of raw samples, or ends in the
            middle of a sample.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError("no audio on standard input: pipe raw samples into the command, or give --microphone")
    kind = np.dtype(ENCODINGS[encoding])
    size, rest, is_begun = kind.itemsize * channels, b"", False
    for chunk in _arriving(sys.stdin.fileno(), stopped):
        if not is_begun and (found := file_format(chunk)):
            raise AudioError(
                f"standard input: {found}, not raw samples; score it with `aasist-jax timeline FILE`, or decode it on "
                "the way: ffmpeg -i - -f s16le -ac 1 -ar 16000 - | aasist-jax listen"
            )
        is_begun = True
        data = rest + chunk
        whole = len(data) // size * size
        rest = data[whole:]
        yield np.frombuffer(data[:whole], kind).reshape(-1, channels)
    if rest and not stopped():
        raise AudioError(
            f"standard input: ends {len(rest)} bytes into a sample of {size}; check --encoding and --channels"
        )


def _arriving(descriptor: int, stopped: Callable[[], bool]) -> Iterator[bytes]:
    """Yield bytes as they arrive, never none; first at least `MAGIC_BYTES`, unless there are fewer in all."""
    held, least = b"", MAGIC_BYTES
    while not stopped():
        # A blocking read would not end when a signal asks the command to stop.
        if not select.select([descriptor], [], [], POLL_SECONDS)[0]:
            continue
        data = os.read(descriptor, READ_BYTES)
        held += data
        if held and (not data or len(held) >= least):
            yield held
            held, least = b"", 0
        if not data:
            return


def file_format(start: bytes) -> str:
    """What file begins like this, such as "a WAV file"; '' if none is known to."""
    for name, pattern in MAGIC.items():
        if re.match(pattern, start, re.DOTALL):
            return name
    return "an MP3 file" if _is_mp3(start) else ""


def _is_mp3(start: bytes) -> bool:
    """Whether an MPEG layer 3 frame is followed by another one: one alone could be a sample by chance."""
    length = _mp3_frame_bytes(start)
    return length > 0 and _mp3_frame_bytes(start[length:]) > 0


def _mp3_frame_bytes(data: bytes) -> int:
    """Bytes of the frame of MPEG-1, 2 or 2.5 layer 3 that begins here; 0 if none does."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return 0
    version, kbits, rate = data[1] >> 3 & 3, data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or kbits in (0, 15) or rate == 3:
        return 0
    is_first = version == 3
    hertz = _MP3_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * (_MP3_KBITS if is_first else _MP3_KBITS_LOW)[kbits]
    return (144 if is_first else 72) * bits // hertz + (data[2] >> 1 & 1)


def microphone(rate: int, channels: int, device: str | None, stopped: Callable[[], bool]) -> Iterator[np.ndarray]:
    """Yield samples from a microphone, until `stopped` returns True.

    Raises:
        AudioError: the extra `microphone` or PortAudio is not installed, there is no such device, or scoring is too
            slow for the incoming samples.
    """
    try:
        import sounddevice
    except ImportError:
        raise AudioError("--microphone: pip install 'aasist-jax[microphone]', or pipe raw samples in") from None
    except OSError as error:
        raise AudioError(f"--microphone: {error}; install PortAudio (libportaudio2), or pipe raw samples in") from None
    chunks: queue.Queue[np.ndarray] = queue.Queue(MICROPHONE_BACKLOG)
    lost = False

    def take(samples: np.ndarray, frames: int, time: Any, status: Any) -> None:
        nonlocal lost
        try:
            chunks.put_nowait(samples.copy())
        except queue.Full:
            lost = True

    name = int(device) if device is not None and device.isdigit() else device
    block = round(MICROPHONE_SECONDS * rate)
    try:
        with sounddevice.InputStream(rate, block, device=name, channels=channels, dtype="float32", callback=take):
            while not stopped():
                if lost:
                    raise AudioError("--microphone: this machine is too slow for it; give a longer --hop")
                try:
                    yield chunks.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(f"--microphone: {error}") from None
