"""`aasist-jax quality`: a row for each recording, in every format, and what cannot be predicted."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aasist_jax.encoders.quality import Quality, QualityPredictor, segment_starts
from tests.conftest import Command


class Loudness:
    """In place of the network: the quality of a recording is told by its peak."""

    def predict(self, blocks: Any, watch: Any) -> Quality:
        wave = np.concatenate(list(blocks()))
        np.testing.assert_array_equal(np.concatenate(list(blocks())), wave)
        starts = segment_starts(wave.size)
        mos = 1 + 4 * float(np.abs(wave).max())
        watch(len(starts), len(starts))
        segments = (mos - 0.5, *[mos + 0.5] * (len(starts) - 1))
        return Quality(mos, wave.size / 16_000, tuple(s / 16_000 for s in starts), segments)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    asked: list[str] = []
    monkeypatch.setattr(QualityPredictor, "from_pretrained", lambda weights: asked.append(weights) or Loudness())
    monkeypatch.chdir(tmp_path)
    sides = np.stack([np.full(200_000, 0.25), np.full(200_000, 0.75)], axis=1)
    soundfile.write("a.wav", sides, 16_000, subtype="FLOAT")
    soundfile.write("b.wav", sides[:80_000], 8_000, subtype="FLOAT")
    return tmp_path


def test_rows_in_every_format(folder: Path, command: Command) -> None:
    code, out, _ = command("quality", "a.wav", "b.wav", "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    expected = {"channel": None, "mos": 3.0, "lowest": 2.5, "status": "ok", "error": None}
    assert rows[0] == expected | {"file": "a.wav", "seconds": 12.5, "segments": 6}
    assert rows[1]["seconds"] == 10
    assert json.loads(command("quality", "a.wav", "b.wav", "--format", "json")[1]) == rows
    told = csv.DictReader(command("quality", "a.wav", "b.wav", "--format", "csv")[1].splitlines())
    assert next((row["file"], float(row["mos"]), row["error"]) for row in told) == ("a.wav", 3.0, "")
    code, out, _ = command("quality", "a.wav", "--channel", 1)
    assert code == 0
    assert [line.split() for line in out.splitlines() if "wav" in line] == [["a.wav", "4.00", "3.50", "12.50"]]
    code, out, said = command("quality", ".", "--output", "rows.json")
    assert (code, out, said) == (0, "", "rows.json: 2 recordings\n")
    assert json.loads((folder / "rows.json").read_text()) == rows


def test_what_cannot_be_read_is_told_and_the_others_are_done(folder: Path, command: Command) -> None:
    (folder / "broken.wav").write_bytes(b"RIFF")
    code, out, said = command("quality", "a.wav", "broken.wav", "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert said == f"error: {rows[1]['error']}\n"
    assert command("quality", "broken.wav")[0] == 1
    assert command("quality", "a.wav", "--output", "rows.txt")[::2] == (
        1,
        "error: rows.txt: written as .csv or .jsonl or .json; give a name that ends so\n",
    )
    assert command("quality", "a.wav", "--output", "rows.csv", "--format", "json")[0] == 2


def test_without_the_weights_it_says_how_to_get_them(tmp_path: Path, command: Command) -> None:
    code, out, said = command("quality", tmp_path / "a.wav", "--weights", tmp_path / "distillmos-9.whl")
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert "distillmos-9.whl: cannot be read (No such file or directory); install it without" in said
