from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.corpus.conversations import converse, speak
from aasist_jax.corpus.made_recordings import read_turns, write_recordings
from aasist_jax.errors import DataError
from tests.corpus.made_voices import voice


def test_recordings_and_turns_are_read_as_they_were_made(tmp_path: Path) -> None:
    made = {
        "two": converse(voice("ann"), voice("tts", "w"), 8.0, np.random.default_rng(0), channels=2),
        "one": speak(voice("ann"), 5.0, np.random.default_rng(0), inserted=voice("tts", "w")),
    }
    folder = tmp_path / "new" / "folder"
    turns = write_recordings(folder, made.items())
    assert sorted(path.name for path in folder.iterdir()) == ["one.flac", "turns.csv", "two.flac"]
    assert turns == {name: recording.turns for name, recording in made.items()}
    found = read_turns(folder)
    assert list(found) == ["two", "one"]
    for name, recording in made.items():
        wave, rate = soundfile.read(folder / f"{name}.flac", dtype="float32")
        assert rate == 16_000
        np.testing.assert_allclose(wave, recording.wave, atol=0.5001 / 32768)
        for turn, read in zip(recording.turns, found[name], strict=True):
            assert (read.start, read.end) == pytest.approx((turn.start, turn.end), abs=1e-6)
            assert (read.channel, read.speaker, read.label, read.attack) == (
                turn.channel,
                turn.speaker,
                turn.label,
                turn.attack,
            )


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (None, "there is no turns.csv; give a folder that aasist-jax join-clips has made"),
        ("recording,start\na,0\n", "turns.csv:2: expected recording, start, end, channel, speaker, label, attack"),
        ("recording,start,end,channel,speaker,label,attack\na,x,1,0,s,spoof,w\n", "turns.csv:2: expected"),
    ],
)
def test_another_table_is_told(tmp_path: Path, table: str | None, complaint: str) -> None:
    if table is not None:
        (tmp_path / "turns.csv").write_text(table)
    with pytest.raises(DataError, match=complaint):
        read_turns(tmp_path)
