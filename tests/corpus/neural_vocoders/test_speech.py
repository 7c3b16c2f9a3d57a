from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.corpus.neural_vocoders.speech import read_speech
from aasist_jax.errors import AudioError, DataError
from tests.corpus.made_voices import speech_like


def write(path: Path, seed: int) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = speech_like(0.2, seed)
    soundfile.write(path, wave, 16_000, subtype="FLOAT")
    return wave.astype(np.float32)


def test_of_a_data_set_the_human_training_clips_are_read(tmp_path: Path) -> None:
    waves = {name: write(tmp_path / f"{name}.wav", seed) for seed, name in enumerate(("a", "b", "c"))}
    rows = "a.wav,bonafide,train\nb.wav,spoof,train\nc.wav,bonafide,dev\n"
    (tmp_path / "clips.csv").write_text("path,label,split\n" + rows)
    (found,) = read_speech(tmp_path / "clips.csv")
    np.testing.assert_array_equal(found, waves["a"])
    (tmp_path / "clips.csv").write_text("path,label,split\nc.wav,bonafide,dev\n")
    with pytest.raises(DataError, match="train"):
        read_speech(tmp_path / "clips.csv")


def test_of_another_folder_all_recordings_are_read(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.wav", 0), write(tmp_path / "below" / "b.wav", 1)
    found = read_speech(tmp_path)
    assert len(found) == 2
    np.testing.assert_array_equal(found[0], first)
    np.testing.assert_array_equal(found[1], second)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioError, match="holds no audio files"):
        read_speech(tmp_path / "empty")
