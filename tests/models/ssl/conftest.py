"""A small set of clips, and a file of the tiny encoder."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.encoders import readers
from aasist_jax.encoders.readers import Reader
from tests.models.ssl import tiny

RATE = 16_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Humans are a low tone in noise, machines a high one; clips are shorter and longer than a window."""
    rng, rows, folder = np.random.default_rng(0), [], tmp_path_factory.mktemp("tones")
    for split, count in (("train", 32), ("dev", 8), ("eval", 8)):
        for i in range(count):
            time = np.arange(rng.integers(1700, 6000)) / RATE
            wave = np.sin(2 * np.pi * (400 if i % 2 else 4000) * time) + rng.normal(scale=0.05, size=time.size)
            soundfile.write(folder / f"{split}{i}.wav", wave, RATE, subtype="FLOAT")
            rows.append((f"{split}{i}.wav", "bonafide" if i % 2 else "spoof", f"speaker{i % 4}", split))
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "speaker", "split"), *rows])
    return folder / "clips.csv"


@pytest.fixture
def tiny_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a reader recognises, and that holds the tiny encoder."""
    path = tmp_path / "tiny.encoder"
    path.write_bytes(b"")
    reader = Reader("a tiny encoder", lambda path: path.suffix == ".encoder", lambda path: tiny.pretrained())
    monkeypatch.setattr(readers, "readers", lambda: (reader,))
    return path
