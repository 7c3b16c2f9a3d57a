"""Results as a pandas frame: a row each, errors among them, numbers as numbers."""

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aasist_jax
from aasist_jax.detection.files import COLUMNS
from aasist_jax.detection.frame import NUMBERS, to_frame
from aasist_jax.detection.result import Score
from aasist_jax.errors import AudioError, ConfigError, DataError
from tests.conftest import extra
from tests.detection.results import made_score

TEXTS = {"file", "label", "reasons", "status", "weights_id", "model_id", "error"}


def test_a_row_is_what_a_file_of_scores_has() -> None:
    pandas = extra("pandas", "pandas")
    results = [made_score([4.0]), AudioError("b.wav: not audio"), made_score([-3.0, None]), made_score([None])]
    files = ["a.wav", Path("b.wav"), (np.zeros(9), 16_000), io.BytesIO(b"")]
    frame = to_frame(files, iter(results))
    assert isinstance(frame, pandas.DataFrame)
    assert [*frame.columns] == [*COLUMNS]
    assert frame["channel"].isna().all()
    assert [*frame["file"]] == ["a.wav", "b.wav", "recording 3", "recording 4"]
    assert [*frame["label"][[0, 2, 3]]] == ["human", "synthetic", "unsure"]
    assert (frame["status"][1], frame["error"][1]) == ("error", "b.wav: not audio")
    for place in (0, 2, 3):
        result = results[place]
        assert isinstance(result, Score)
        for name, value in result.to_dict().items():
            found = frame[name][place]
            assert (value is None and pandas.isna(found)) or found == value, name
    assert frame["error"].isna().tolist() == [True, False, True, True]


def test_each_channel_of_a_call_is_a_row() -> None:
    extra("pandas", "pandas")
    sides = (made_score([5.0]), made_score([-5.0]))
    results = [made_score([4.0]), replace(made_score([0.0]), channels=sides), AudioError("c.wav: not audio")]
    files = ["a.wav", "b.wav", "c.wav"]
    frame = to_frame(files, iter(results), channel="each")
    assert [*frame["file"]] == ["a.wav", "b.wav", "b.wav", "c.wav"]
    assert str(frame["channel"].dtype) == "Int64"
    assert frame["channel"].isna().tolist() == [True, False, False, True]
    assert frame["channel"].dropna().tolist() == [0, 1]
    assert frame["label"].tolist()[:3] == ["human", "human", "synthetic"]
    assert frame["llr"].tolist()[1:3] == [5.0, -5.0]
    # Without it one row is one recording, of the channel that was scored.
    for channel in (None, 1):
        frame = to_frame(files, results, channel=channel)
        assert [*frame["file"]] == files
        assert [*frame["channel"]] == [1] * 3 if channel else frame["channel"].isna().all()
    with pytest.raises(DataError, match="3 results for more recordings"):
        to_frame([*files, "d.wav"], results, channel="each")


def test_numbers_are_numbers_even_where_there_are_none() -> None:
    extra("pandas", "pandas")
    assert {*NUMBERS, "channel"} | TEXTS == {*COLUMNS}
    for results in ([], [AudioError("no")], [made_score([1.0], calibrated=False)], [made_score([1.0])]):
        frame = to_frame(["a.wav"] * len(results), results)
        assert {str(frame[name].dtype) for name in NUMBERS} == {"float64"}


def test_one_too_many_is_told() -> None:
    extra("pandas", "pandas")
    for files, results, told in (
        (["a", "b"], [made_score([1.0])], "1 results for more recordings"),
        (["a"], [made_score([1.0])] * 2, "2 results or more for 1 recordings"),
    ):
        with pytest.raises(DataError, match=told):
            to_frame(files, results)


def test_without_pandas_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    def not_begun() -> Iterator[Score]:
        raise AssertionError("nothing is scored for a frame that cannot be made")
        yield

    with pytest.raises(ConfigError, match=r"pip install 'aasist_jax\[pandas\]'"):
        to_frame(["a.wav"], not_begun())


def test_the_package_gives_it_by_name() -> None:
    assert aasist_jax.to_frame is to_frame
    assert aasist_jax.Score is Score
