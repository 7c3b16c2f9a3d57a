from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.corpus.speech import Voice, load_recording, recorded_seconds, recordings
from aasist_jax.errors import DataError
from tests.conftest import extra

RATE = 16000


def tone(seconds: float) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)


def test_recordings_are_those_long_enough_sorted(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for name, seconds in (("z.ogg", 1.5), ("c.ogg", 2.0), ("short.ogg", 0.5), ("beep.ogg", 3.0)):
        soundfile.write(folder / name, tone(seconds), RATE)
    voice = Voice("v", "train", "en", "p", "a/*/*.ogg", shortest=1.0)
    assert recordings(tmp_path, voice) == [("a/b/c.ogg", 2.0), ("a/b/z.ogg", 1.5)]


def test_no_recordings_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pack: no recordings at .*\*\.ogg"):
        recordings(tmp_path, Voice("v", "train", "en", "pack", "a/*.ogg"))


def test_g722_is_decoded(tmp_path: Path) -> None:
    codec = extra("G722", "quickstart")
    wave = tone(1.0)
    path = tmp_path / "a.g722"
    path.write_bytes(codec.G722(RATE, 64000).encode(np.round(wave * 32767).astype(np.int16).tolist()))
    assert recorded_seconds(path) == pytest.approx(1.0, abs=1e-3)
    decoded = load_recording(path)
    assert decoded.dtype == np.float32
    # The codec delays by 22 samples.
    lags = [float(np.corrcoef(decoded[lag : lag + 15000], wave[:15000])[0, 1]) for lag in range(40)]
    assert np.argmax(lags) == 22
    assert lags[22] > 0.999
