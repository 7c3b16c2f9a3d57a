"""The check before a run: every kind of bad clip is found, named by its protocol line, and listed in full."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.data.preflight import check_utterances, usable_utterances
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import BadClipsError, DataError


@pytest.fixture
def mixed(utterances: list[Utterance], tmp_path: Path) -> list[Utterance]:
    """Good clips with a missing, an unreadable, a short, a doubled and an inwardly damaged one among them."""
    text = tmp_path / "text.flac"
    text.write_text("no audio")
    short = tmp_path / "short.flac"
    soundfile.write(short, np.zeros(1599, np.int16), 16_000)
    damaged = tmp_path / "damaged.flac"
    data = utterances[3].path.read_bytes()
    damaged.write_bytes(data[: len(data) // 2])

    def spoiled(position: int, path: Path) -> Utterance:
        return dataclasses.replace(utterances[position], path=path)

    return [
        *utterances[:2],
        spoiled(2, tmp_path / "none.flac"),
        spoiled(3, text),
        spoiled(4, short),
        utterances[1],
        spoiled(5, utterances[0].path),
        spoiled(6, damaged),
        utterances[7],
    ]


def test_good_clips_have_no_problems(utterances: list[Utterance]) -> None:
    assert check_utterances(utterances, workers=2) == []
    assert usable_utterances(utterances, deep=True) == utterances


def test_every_kind_of_problem(mixed: list[Utterance]) -> None:
    shallow = check_utterances(mixed, workers=3)
    assert [(p.position, p.kind) for p in shallow] == [
        (2, "missing"),
        (3, "unreadable"),
        (4, "too short"),
        (5, "duplicate"),
        (6, "duplicate"),
    ]
    for problem in shallow:
        assert str(problem).startswith(f"{problem.utterance.origin}: {problem.kind}: ")
    deep = check_utterances(mixed, workers=3, deep=True)
    assert [p for p in deep if p not in shallow] == [deep[5]]
    assert (deep[5].utterance, deep[5].kind) == (mixed[7], "unreadable")


def test_fail_lists_every_problem(mixed: list[Utterance], tmp_path: Path) -> None:
    report = tmp_path / "logs" / "problems.txt"
    with pytest.raises(DataError, match=r"5 of 9 clips cannot be used \(all listed in .*problems\.txt\)") as caught:
        usable_utterances(mixed, report=report)
    lines = report.read_text().splitlines()
    assert lines == [str(problem) for problem in check_utterances(mixed)]
    for line in lines:
        assert line in str(caught.value)


def test_the_message_shows_twenty_and_the_report_all(utterances: list[Utterance], tmp_path: Path) -> None:
    missing = [dataclasses.replace(u, path=tmp_path / u.path.name) for u in utterances]
    report = tmp_path / "problems.txt"
    with pytest.raises(DataError, match=r"23 of 23(.|\n)*\.\.\. and 3 more"):
        usable_utterances(missing, report=report)
    assert len(report.read_text().splitlines()) == 23
    with pytest.raises(DataError, match="none is left"):
        usable_utterances(missing, on_bad="skip")


def test_clips_that_lie_there_with_another_suffix_are_told(utterances: list[Utterance], tmp_path: Path) -> None:
    renamed = [dataclasses.replace(u, path=u.path.with_suffix(".wav")) for u in utterances]
    (problem, *_) = check_utterances(renamed)
    assert problem.reason == f"no file {renamed[0].path}; the same stem with .flac is there"
    with pytest.raises(DataError) as caught:
        usable_utterances(renamed)
    assert str(caught.value).startswith(
        "23 of 23 clips cannot be used, so none is left; there are 23 of the same stem with .flac: name them so in the "
        "list:\n"
    )
    with pytest.raises(BadClipsError, match=r"^1 of 23 .*; there are 1 of the same stem with \.flac: name them so"):
        usable_utterances([renamed[0], *utterances[1:]])
    elsewhere = dataclasses.replace(utterances[0], path=tmp_path / "none" / "x.wav")
    assert check_utterances([elsewhere])[0].reason == f"no file {elsewhere.path}"


def test_skip_returns_the_good_ones_and_says_so(mixed: list[Utterance], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        good = usable_utterances(mixed, on_bad="skip", deep=True)
    assert good == [mixed[0], mixed[1], mixed[8]]
    assert "6 of 9 clips cannot be used and are left out; 3 remain" in caplog.text
