"""Recordings for the tests of `aasist-jax score`, and the toy that scores them, with a calibration and without."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from aasist_jax.detection.detector import CALIBRATION_FILE
from tests.made_calibration import calibrate_by_hand
from tests.made_speech import made_speech
from tests.models import toy

SLOPE, OFFSET = 20.0, -5.0
"""What the toy hears is how loud a recording is: by this calibration a loud one is human, a faint one synthetic."""

LOUD, BETWEEN, FAINT = 1.0, 0.56, 0.02


def save_calibrated_toy(folder: Path) -> Path:
    """Write the toy's weights folder, calibrated."""
    return calibrate_by_hand(toy.save_toy(folder), SLOPE, OFFSET)


def make_scratch(folder: Path) -> Path:
    """Weights of the toy, and recordings: one of each verdict, one without speech, silence, one that is no audio."""
    save_calibrated_toy(folder / "weights")
    shutil.copytree(folder / "weights", folder / "uncalibrated")
    (folder / "uncalibrated" / CALIBRATION_FILE).unlink()
    for name, gain in (("human", LOUD), ("unsure", BETWEEN), ("synthetic", FAINT)):
        soundfile.write(folder / f"{name}.wav", made_speech(2.2, gain=gain), 16_000)
    sides = np.column_stack([made_speech(1.5, seed=1, gain=LOUD), made_speech(1.5, seed=2, gain=FAINT)])
    soundfile.write(folder / "stereo.wav", soxr.resample(sides, 16_000, 44_100), 44_100)
    soundfile.write(folder / "noise.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 32_000), 16_000)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    (folder / "text.wav").write_text("no audio\n" * 100)
    return folder


def rows(command: Any, scratch: Path, *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    """Score with the toy of `make_scratch`: the exit code, the rows, and what standard error holds."""
    code, out, err = command("score", *arguments, "--weights", scratch / "weights", "--format", "jsonl")
    return code, [json.loads(line) for line in out.splitlines()], err
