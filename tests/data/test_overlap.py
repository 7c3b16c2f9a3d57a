"""Clips and speakers in more than one split; `test_splits` tests how a run is told."""

from pathlib import Path

import pytest

from aasist_jax.data.overlap import BEGINNING, check_clips_in_one_split, warn_of_shared_speakers
from aasist_jax.data.utterances import Utterance, make_utterance
from aasist_jax.errors import DataError


def clip(name: str, speaker: str = "-", *, is_human: bool = True, folder: Path = Path()) -> Utterance:
    kind = ("bonafide", "-") if is_human else ("spoof", "A01")
    return make_utterance(name, folder / name, *kind, speaker, f"list:{name}")  # type: ignore[arg-type]


def test_a_voice_that_is_nowhere_human_is_no_speaker(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_shared_speakers(
        {
            "train": [clip("a", "ann"), clip("b", "flite", is_human=False), clip("c")],
            "dev": [clip("d", "ann", is_human=False), clip("e", "flite", is_human=False), clip("f")],
            "eval": [clip("g", "bob")],
        }
    )
    assert [record.getMessage() for record in caplog.records] == [
        "train and dev share 1 of their speakers (ann): the figures promise too much for new voices"
    ]


def test_only_files_that_are_alike_to_their_end_are_the_same_clip(tmp_path: Path) -> None:
    contents = {"a": b"x" * BEGINNING + b"1", "b": b"x" * BEGINNING + b"2", "c": b"y" * (BEGINNING + 1), "d": b"x"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "copy").write_bytes(contents["b"])
    a, b, c, d, copy = (clip(name, folder=tmp_path) for name in (*contents, "copy"))
    check_clips_in_one_split({"train": [a, b, copy], "dev": [c], "eval": [d]})
    with pytest.raises(DataError, match=r"^1 clip stands in two splits(.|\n)*list:b \(train\) and list:copy \(eval\)$"):
        check_clips_in_one_split({"train": [a, b], "dev": [c], "eval": [d, copy]})
