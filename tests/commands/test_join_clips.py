from pathlib import Path

import pytest
import soundfile

from aasist_jax.commands.join_clips import Kind
from aasist_jax.corpus.degradations import DEGRADATIONS
from aasist_jax.corpus.drawn_recordings import KINDS
from aasist_jax.corpus.made_recordings import read_turns
from tests.conftest import CORPUS, Command, needs_corpus


@needs_corpus
def test_recordings_and_their_table_are_made(command: Command, tmp_path: Path) -> None:
    output = tmp_path / "made"
    wishes = ("--count", 3, "--minutes", 0.1, "--channels", 2, "--kind", "human-synthetic", "--kind", "inserted")
    code, printed, said = command("join-clips", CORPUS, output, *wishes, "--degrade", "telephone")
    assert code == 0, said
    assert said == f"3 recordings and turns.csv are in {output}\n"
    turns = read_turns(output)
    assert list(turns) == ["0001-human-synthetic", "0002-inserted", "0003-human-synthetic"]
    assert [soundfile.info(output / f"{name}.flac").channels for name in turns] == [2, 1, 2]
    for label, line in zip(("bonafide", "spoof"), printed.splitlines(), strict=True):
        seconds = sum(turn.end - turn.start for each in turns.values() for turn in each if turn.label == label)
        assert line == f"{label}: {seconds / 60:.1f} minutes"
    code, _, said = command("join-clips", CORPUS, output)
    assert (code, said) == (1, f"error: {output} is not an empty folder: give another one\n")


@pytest.mark.parametrize("minutes", ["nan", "inf", "0", "61"])
def test_a_length_that_is_none_is_refused(command: Command, tmp_path: Path, minutes: str) -> None:
    code, _, said = command("join-clips", CORPUS, tmp_path / "made", "--minutes", minutes)
    assert code == 2
    assert "--minutes" in said
    assert not (tmp_path / "made").exists()


def test_the_help_names_every_kind_and_degradation(command: Command) -> None:
    assert [kind.value for kind in Kind] == list(KINDS)
    _, printed, _ = command("join-clips", "--help")
    for name in DEGRADATIONS:
        assert name in printed
