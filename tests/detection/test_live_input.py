"""Live audio from a microphone: chunks come as they are, and what is wrong is one line."""

import sys
import types
from typing import Any

import numpy as np
import pytest

from aasist_jax.detection import live_input
from aasist_jax.errors import AudioError


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
