"""AAC in M4A files and bare: what is heard, and what is said where the extra is missing."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.audio.load import AudioInfo, inspect_audio, iter_audio, load_audio, load_channels
from aasist_jax.audio.m4a import MAX_PACKETS
from aasist_jax.errors import AudioError
from tests.audio.catalogue import m4a_bomb
from tests.audio.recordings import m4a
from tests.conftest import REPOSITORY, extra

extra("av", "m4a")


def tone(seconds: float, rate: int, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("kind", ["ipod", "mp4", "mov", "adts"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_tone_is_heard_as_it_was(kind: str, rate: int) -> None:
    data = m4a(tone(3.0, rate), rate, kind)
    wave = load_audio(io.BytesIO(data))
    # The encoder fills its last frame; bare AAC also keeps what it lets run ahead.
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


def peak_of(packets: int, limit: int, folder: Path) -> int:
    """MiB that are resident at most in a process that reads an M4A which states this many packets."""
    path = folder / "bomb.m4a"
    path.write_bytes(m4a_bomb(packets))
    code = (
        "import sys; from aasist_jax.audio.load import load_audio; from aasist_jax.audio import m4a;"
        "from aasist_jax.errors import AudioError; from tests.audio.mutations import peak_mib\n"
        "m4a.MAX_PACKETS = int(sys.argv[2])\n"
        "try: load_audio(sys.argv[1])\n"
        "except AudioError: print(peak_mib())"
    )
    command = [sys.executable, "-c", code, str(path), str(limit)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    print(f"{path.stat().st_size} bytes that state {packets} packets, {limit} allowed: {done.stdout.strip()} MiB")
    return int(done.stdout)


def test_an_index_is_a_bomb_without_the_limit(tmp_path: Path) -> None:
    assert peak_of(10_000_000, 1 << 40, tmp_path) > 300
    assert peak_of(10_000_000, MAX_PACKETS, tmp_path) < 150
    assert peak_of(MAX_PACKETS, MAX_PACKETS, tmp_path) < 200


@pytest.mark.parametrize("kind", ["ipod", "adts"])
def test_without_the_extra_one_line_says_how_to_get_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = m4a(tone(1.0, 16_000), kind=kind)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"M4A and AAC need an extra: pip install 'aasist-jax\[m4a\]'"):
        load_audio(io.BytesIO(data))
