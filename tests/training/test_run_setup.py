"""What is refused before a run begins, with the way out."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.config import ExperimentConfig, load_config
from aasist_jax.errors import TrainingError
from aasist_jax.training.run_setup import set_up


def fine_tuning(folder: Path, clips: int, *changes: str) -> ExperimentConfig:
    """The fine-tune configuration on as many training clips, and two for development."""
    rng = np.random.default_rng(0)
    with (folder / "clips.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        for number in range(clips + 2):
            soundfile.write(folder / f"{number}.wav", rng.uniform(-0.5, 0.5, 1600), 16_000)
            label, split = ("bonafide", "spoof")[number % 2], "train" if number < clips else "dev"
            table.writerow([f"{number}.wav", label, split])
    data = ("data_config.layout=csv", f"database_path={folder / 'clips.csv'}")
    return load_config("AASIST-L_finetune", [*data, *changes])


@pytest.mark.parametrize(
    ("clips", "changes", "way_out"),
    [
        (40, [], "--set batch_size=40 is the largest that fits"),
        (39, [], "--set batch_size=32 is the largest that fits"),
        (40, ["train_config.accumulation=3"], "--set batch_size=24 is the largest that fits"),
        (5, [], "and even the smallest batch here has 8, one for every device and piece; add clips"),
    ],
)
def test_too_few_clips_for_a_batch_are_offered_one_that_fits(
    tmp_path: Path, clips: int, changes: list[str], way_out: str
) -> None:
    """The fine-tune configuration on 40 clips: a batch that fits is offered (the tests have eight devices)."""
    with pytest.raises(TrainingError) as caught:
        set_up(fine_tuning(tmp_path, clips, *changes), tmp_path)
    assert str(caught.value) == f"batch_size: {clips} training clips do not fill one batch of 48; {way_out}"
