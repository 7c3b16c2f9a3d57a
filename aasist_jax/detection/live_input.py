"""Live audio from standard input (raw samples) or a microphone."""

import os
import queue
import select
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from aasist_jax.errors import AudioError

ENCODINGS = {"s16le": "<i2", "f32le": "<f4"}
"""Encodings of raw samples on standard input, and the NumPy type of each."""

READ_BYTES = 1 << 16
POLL_SECONDS = 0.2
MICROPHONE_SECONDS, MICROPHONE_BACKLOG = 0.1, 300
"""Length of a chunk from the microphone in seconds, and the most chunks that may wait to be scored."""


def standard_input(encoding: str, channels: int, stopped: Callable[[], bool]) -> Iterator[np.ndarray]:
    """Yield raw samples from standard input as (samples, channels), until it ends or `stopped` returns True.

    Raises:
        AudioError: standard input is a terminal, or ends in the middle of a sample.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError("no audio on standard input: pipe raw samples into the command, or give --microphone")
    kind = np.dtype(ENCODINGS[encoding])
    size, rest = kind.itemsize * channels, b""
    descriptor = sys.stdin.fileno()
    while not stopped():
        # A blocking read would not end when a signal asks the command to stop.
        if not select.select([descriptor], [], [], POLL_SECONDS)[0]:
            continue
        data = os.read(descriptor, READ_BYTES)
        if not data:
            if rest:
                raise AudioError(
                    f"standard input: ends {len(rest)} bytes into a sample of {size}; check --encoding and --channels"
                )
            return
        data = rest + data
        whole = len(data) // size * size
        rest = data[whole:]
        yield np.frombuffer(data[:whole], kind).reshape(-1, channels)


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
