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
    soundfile.write(path, wave, 16_000, subtype="FLOAT" if path.suffix == ".wav" else "PCM_24")
    return wave.astype(np.float32)


def test_of_a_data_set_the_human_training_clips_are_read(tmp_path: Path) -> None:
    waves = {name: write(tmp_path / f"{name}.wav", seed) for seed, name in enumerate(("a", "b", "c"))}
    rows = "a.wav,bonafide,train\nb.wav,spoof,train\nc.wav,bonafide,dev\n"
    (tmp_path / "clips.csv").write_text("path,label,split\n" + rows)
    (found,), described = read_speech(tmp_path / "clips.csv")
    assert described == f"1 bona fide clips of train of {tmp_path / 'clips.csv'}"
    np.testing.assert_array_equal(found, waves["a"])
    (tmp_path / "clips.csv").write_text("path,label,split\nc.wav,bonafide,dev\n")
    with pytest.raises(DataError, match="train"):
        read_speech(tmp_path / "clips.csv")


def test_of_another_folder_all_recordings_are_read(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.wav", 0), write(tmp_path / "below" / "b.wav", 1)
    found, described = read_speech(tmp_path)
    assert described == f"2 recordings of {tmp_path}, taken as human"
    assert len(found) == 2
    np.testing.assert_array_equal(found[0], first)
    np.testing.assert_array_equal(found[1], second)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioError, match="holds no audio files"):
        read_speech(tmp_path / "empty")


@pytest.mark.parametrize(
    ("clip", "given"),
    [
        ("ASVspoof2019_LA_eval/flac/a.flac", "."),
        ("ASVspoof2019_LA_eval/flac/a.flac", "ASVspoof2019_LA_eval/flac"),
        ("ASVspoof2019_PA_cm_protocols/a.wav", "."),
        ("a.wav", "."),
    ],
)
def test_parts_of_a_data_set_are_not_taken_for_human_speech(clip: str, given: str, tmp_path: Path) -> None:
    """Of clips without protocols, of another track, or of a corpus that is not complete."""
    if clip == "a.wav":
        (tmp_path / "corpus.json").write_text("{}")
    write(tmp_path / clip, 0)
    with pytest.raises(DataError, match="holds no data set of a known layout"):
        read_speech(tmp_path / given)


def test_the_faults_of_a_table_are_named(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text("path,label,split\na.wav,maybe,train\n")
    with pytest.raises(DataError, match="maybe"):
        read_speech(tmp_path / "clips.csv")
    (tmp_path / "clips.csv").write_text("label,split\nbonafide,train\n")
    with pytest.raises(DataError, match="no column path"):
        read_speech(tmp_path / "clips.csv")
