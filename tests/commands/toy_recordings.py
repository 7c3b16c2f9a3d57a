"""Recordings for the tests of `aasist-jax score`, and the toy that scores them."""

from pathlib import Path

import numpy as np
import soundfile

from tests.models import toy


def make_scratch(folder: Path) -> Path:
    """Weights of the toy, and recordings: sound ones, a silent one, one that is no audio."""
    rng = np.random.default_rng(0)
    toy.save_toy(folder / "weights")
    soundfile.write(folder / "long.wav", rng.uniform(-0.5, 0.5, 10_000), 16_000)
    soundfile.write(folder / "stereo.wav", rng.uniform(-0.5, 0.5, (44_100, 2)), 44_100)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    (folder / "text.wav").write_text("no audio\n" * 100)
    return folder
