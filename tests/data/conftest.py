"""A small data set in the published layout: 16-bit FLAC noise of unequal lengths, told apart by their samples."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from aasist_jax.data.utterances import Utterance

CLIPS = 23


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ASVspoof 2019 LA folder with a train split of 23 clips of 1600 to 8000 samples."""
    root = tmp_path_factory.mktemp("LA")
    flac = root / "ASVspoof2019_LA_train" / "flac"
    flac.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for number in range(CLIPS):
        samples = rng.integers(-32768, 32768, rng.integers(1600, 8000), dtype=np.int16)
        soundfile.write(flac / f"LA_T_{number:07}.flac", samples, 16_000)
        attack, key = ("-", "bonafide") if number % 3 == 0 else (f"A0{number % 3}", "spoof")
        lines.append(f"LA_{number:04} LA_T_{number:07} - {attack} {key}\n")
    protocols = root / "ASVspoof2019_LA_cm_protocols"
    protocols.mkdir()
    (protocols / "ASVspoof2019.LA.cm.train.trn.txt").write_text("".join(lines))
    return root


@pytest.fixture
def utterances(database: Path) -> list[Utterance]:
    return read_asvspoof2019_la(database, "train")
