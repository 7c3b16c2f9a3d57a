"""What the tests of `timeline` and `listen` share."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aasist_jax.audio.load import load_audio
from aasist_jax.detection.detector import CALIBRATION_FILE, Detector
from aasist_jax.detection.result import Timeline
from aasist_jax.weights.folder import Source, save_weights
from tests.conftest import REPOSITORY
from tests.made_calibration import calibrate_by_hand
from tests.made_speech import made_speech
from tests.models.aasist.tiny import CONFIG, scaled_variables


def write_talk(folder: Path) -> Path:
    """Write `call.wav`, which holds speech and then a second of silence, and the weights of a tiny model.

    By the calibration of `human/` the call is human, by that of `synthetic/` it is synthetic; `uncalibrated/` has none.
    """
    voices = [made_speech(1.5, seed, gain) for seed, gain in enumerate((1.0, 0.1, 0.5))]
    soundfile.write(folder / "call.wav", np.concatenate([*voices, np.zeros(16_000)]), 16_000)
    weights = save_weights(folder / "uncalibrated", CONFIG, scaled_variables(), Source("tiny.pth", "0"))
    found = Detector.from_pretrained(weights).score(folder / "call.wav").windows
    scores = [window.score for window in found if window.score is not None]
    # All windows are about as human, or as synthetic, so that every segment has the label of the whole.
    slope = 0.1 / (max(scores) - min(scores))
    for name, offset in (("human", 5 - slope * min(scores)), ("synthetic", -5 - slope * max(scores))):
        calibrate_by_hand(Path(shutil.copytree(weights, folder / name)), slope, offset)
        assert (folder / name / CALIBRATION_FILE).is_file()
    return folder


def samples(folder: Path) -> np.ndarray:
    """The samples of `call.wav`."""
    return load_audio(folder / "call.wav")


def run_process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    line = [sys.executable, "-m", "aasist_jax.commands.app", *map(str, arguments)]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, timeout=300, **options)


def assert_scores(found: list[dict[str, Any]], expected: Timeline) -> None:
    """Of another process; None where nothing was heard."""
    scores, others = (
        [np.nan if s is None else s for s in scores]
        for scores in ([window["score"] for window in found], [window.score for window in expected.windows])
    )
    np.testing.assert_allclose(scores, others, rtol=1e-5)
