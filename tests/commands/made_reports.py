"""A recording, weights with a calibration, and their report, for the tests of `score --report` and of `verify`."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aasist_jax.calibration.detector_calibration import FittedOn, Measured, VoiceErrors, save_detector_calibration
from aasist_jax.detection.detector import CALIBRATION_FILE, Detector
from tests.made_calibration import made_calibration
from tests.made_speech import made_speech
from tests.models import toy

HOSTILE = "<img src=x onerror=alert(1)>\"'&\u202e.wav"


def make_scratch(folder: Path) -> Path:
    """Write `call.wav`, the same under a hostile name, `stereo.wav` of a human and a machine, and weights."""
    weights = toy.save_toy(folder / "weights")
    detector = Detector.from_pretrained(weights)
    with soundfile.SoundFile(folder / "call.wav", "w", 16_000, 1, "PCM_16") as file:
        file.title = "</table><script>alert(2)</script>"
        file.write(made_speech(3.0))
    calibration = dataclasses.replace(
        made_calibration(detector, 20.0, -5.0),
        fitted_on=FittedOn("clips<1>.csv", "ab" * 32, 30, 40, 5, ("espeak", "hts"), "aasist-jax calibrate toy"),
        measured=Measured(0.5, 0.4, 0.9, 0.011, 0.022, 0.333, voices=(VoiceErrors("anna", True, 12, 0.25, 0.5),)),
    )
    save_detector_calibration(calibration, weights / CALIBRATION_FILE)
    sides = np.column_stack([made_speech(3.0), made_speech(3.0, 2, gain=0.02)])
    soundfile.write(folder / "stereo.wav", sides, 16_000, subtype="FLOAT")
    shutil.copyfile(folder / "call.wav", folder / HOSTILE)
    return folder


def report(command: Any, scratch: Path, name: str = "call.wav", *options: object) -> dict[str, Any]:
    """Write the page and the facts of a report, as `call.html` and `call.json`, and return the facts."""
    pages = ("--report", scratch / "call.html", "--report", scratch / "call.json")
    code, _, err = command("score", scratch / name, "--weights", scratch / "weights", *pages, *options)
    assert code == 0, err
    assert err.splitlines()[-2:] == [f"{scratch / f'call{suffix}'}: written" for suffix in (".html", ".json")]
    return json.loads((scratch / "call.json").read_text())
