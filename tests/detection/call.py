"""A recording for scores over time, and the weights of a tiny model."""

from pathlib import Path

import numpy as np
import soundfile

from aasist_jax.weights.folder import Source, save_weights
from tests.models.aasist.tiny import CONFIG, random_variables


def write_call(folder: Path) -> Path:
    """Write `weights/` and `call.wav` into a folder: noise that comes and goes, then silence."""
    save_weights(folder / "weights", CONFIG, random_variables(), Source("tiny.pth", "0"))
    rng = np.random.default_rng(0)
    gain = np.repeat(rng.choice([0.01, 0.1, 0.3], 8), 10_000)
    wave = np.concatenate([rng.normal(size=80_000) * gain, np.zeros(20_000)])
    soundfile.write(folder / "call.wav", np.clip(wave, -1, 1), 16_000)
    return folder
