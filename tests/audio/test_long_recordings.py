"""Honest recordings of two hours: none is taken for a bomb, and the first window takes little memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.audio.recordings import container_and_subtype, voice
from tests.conftest import REPOSITORY

HOURS = 2


def write_long(path: Path, kind: str, rate: int, channels: int, silence: float, seconds: float) -> None:
    """Ten seconds of noise like a voice and the silence that goes with it, again and again."""
    container, subtype = container_and_subtype(kind)
    part = voice(10.0, rate, channels)
    piece = np.concatenate([part, np.zeros((round(len(part) * silence / (1 - silence)), channels))])
    with soundfile.SoundFile(path, "w", rate, channels, subtype, format=container) as file:
        for _ in range(round(seconds * rate / len(piece))):
            for start in range(0, len(piece), rate):
                file.write(piece[start : start + rate])


@pytest.mark.parametrize(
    ("kind", "rate", "channels", "silence", "hours"),
    [
        ("flac", 16_000, 1, 0.9, 0.25),
        pytest.param("flac", 16_000, 1, 0.9, HOURS, marks=pytest.mark.slow),
        pytest.param("flac", 44_100, 2, 0.0, HOURS, marks=pytest.mark.slow),
        pytest.param("mp3", 16_000, 1, 0.0, HOURS, marks=pytest.mark.slow),
        pytest.param("mp3", 16_000, 1, 0.9, HOURS, marks=pytest.mark.slow),
        pytest.param("ogg", 16_000, 1, 0.9, HOURS, marks=pytest.mark.slow),
        pytest.param("opus", 16_000, 1, 0.9, HOURS, marks=pytest.mark.slow),
    ],
)
def test_the_first_window_of_a_long_recording(
    kind: str, rate: int, channels: int, silence: float, hours: float, tmp_path: Path
) -> None:
    path = tmp_path / f"long.{kind}"
    write_long(path, kind, rate, channels, silence, 3600 * hours)
    command = [sys.executable, "-m", "tests.audio.long_recording", str(path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    print(kind, rate, channels, f"{silence:.0%} silent", result)
    path.unlink()
    assert abs(result["seconds"] - 3600 * hours) < 101
    assert result["values_per_byte"] < 128  # half of the limit
    assert result["peak_mib"] - result["mib_before"] < 32
