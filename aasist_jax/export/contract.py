"""The metadata of every exported file, and the check that it must pass before it is written."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.calibration.llr import calibration_to_json
from aasist_jax.detection.detector import Detector
from aasist_jax.errors import ExportError
from aasist_jax.models.family import LABELS, Window
from aasist_jax.runtime.files import replacing

FORMAT = 1
TOLERANCE = 1e-4
"""Largest allowed difference between exported and native logits; above it, no file is written."""

WINDOW_RULES = {
    True: "mono, full scale 1, not normalised; the first samples, a shorter clip repeated end to end",
    False: "mono, full scale 1, not normalised; the first samples, a shorter clip followed by zeros, and its length",
}
"""How to make the input from a recording, by whether the model's window is fixed."""

BATCHES = (1, 7)
"""Batch sizes of the check; there are two because the exported batch size must be variable."""

Waves = Float32[np.ndarray, "batch samples"]
Lengths = Int32[np.ndarray, " batch"]
Logits = Float32[np.ndarray, "batch 2"]

Run = Callable[[Waves, Lengths | None], np.ndarray]
"""Runs an exported model on waveforms of a full window, and returns its logits. The second argument is the number of
valid samples of each waveform; None for a model with a fixed window, which takes no such input."""


def describe(detector: Detector) -> dict[str, Any]:
    """The metadata that a program needs to use the exported model, as JSON values.

    A model without a fixed window has two more: `fill`, how a clip shorter than the window is extended to it, and
    `shortest`, the fewest samples of a clip.
    """
    weights, calibration, window = detector.weights, detector.calibration, detector.window_rule
    facts = {
        "format": FORMAT,
        "weights_id": weights.weights_id,
        "source": asdict(weights.source),
        "architecture": detector.family.name,
        "sample_rate": SAMPLE_RATE,
        "window": window.samples,
        "window_rule": WINDOW_RULES[window.fixed],
        "labels": list(LABELS),
        "bonafide_index": LABELS.index("bonafide"),
        "polarity": "the score is the raw logit of bonafide_index; higher is more human; it is no probability",
        "calibration": None if calibration is None else calibration_to_json(calibration.logistic),
        "tolerance": TOLERANCE,
    }
    return facts if window.fixed else facts | {"fill": "zeros", "shortest": window.shortest}


def write_checked(path: Path, content: bytes, detector: Detector, load: Callable[[Path], Run]) -> float:
    """Write an exported model, read it back, and keep it only if its logits agree with the native model.

    Args:
        path: the file to write; an existing file is replaced.
        content: the content of the file.
        detector: the native model.
        load: loads a file and returns the function that runs it.

    Returns:
        The largest absolute difference between exported and native logits: over eight waveforms, for a model without a
        fixed window at each of the lengths of `check_lengths`.

    Raises:
        ExportError: the difference is above `TOLERANCE`, the logits have another shape, or the file cannot be written.
            An existing file is then left as it was.
    """
    try:
        with replacing(path) as written:
            written.write_bytes(content)
            difference = _largest_difference(load(written), detector)
            # Written so that NaN fails the check, too.
            if not difference <= TOLERANCE:
                raise ExportError(
                    f"{path}: not written, its logits are {difference:.1e} off the native ones, where {TOLERANCE:g} is "
                    "allowed; the exporter has a fault, please report it with the weights"
                )
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror or error})") from None
    return difference


def _largest_difference(run: Run, detector: Detector) -> float:
    waves = check_waves(detector.window)
    if detector.window_rule.fixed:
        return _difference(run, waves, None, detector.logits(waves))
    differences = []
    for lengths in check_lengths(detector.window_rule, len(waves)):
        padded = np.where(np.arange(detector.window) < lengths[:, None], waves, np.float32(0))
        differences.append(_difference(run, padded, lengths, detector.logits(padded, lengths)))
    # Not the built-in max, which may lose a NaN.
    return float(np.max(differences))


def _difference(run: Run, waves: Waves, lengths: Lengths | None, native: Logits) -> float:
    parts = np.split(np.arange(len(waves)), np.cumsum(BATCHES)[:-1])
    exported = np.concatenate([run(waves[rows], None if lengths is None else lengths[rows]) for rows in parts])
    if exported.shape != native.shape:
        raise ExportError(
            f"the exported model gives logits of shape {exported.shape} where {native.shape} is expected, spoof before "
            "bona fide; mend the exporter"
        )
    return float(np.abs(exported.astype(np.float64) - native).max())


def check_lengths(window: Window, batch: int) -> tuple[Lengths, ...]:
    """The lengths of the check: all clips full, all of the shortest, all of the middle length; and all different."""
    shortest, full = window.shortest, window.samples
    same = (np.full(batch, length, np.int32) for length in (full, shortest, (shortest + full) // 2))
    return *same, np.linspace(shortest, full, batch).astype(np.int32)


def check_waves(samples: int) -> Float32[np.ndarray, "batch samples"]:
    """Make eight different, reproducible waveforms: noises, voiced sounds, a chirp and clicks, loud and soft."""
    rng = np.random.default_rng(0)
    time = np.arange(samples) / SAMPLE_RATE
    noise = rng.normal(size=(4, samples))
    syllables = np.maximum(np.sin(2 * np.pi * 3.1 * time + 0.7), 0)
    pitch = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.8 * time)) / SAMPLE_RATE
    voice = sum(np.sin(k * pitch) / k for k in range(1, 30)) * syllables
    chirp = np.sin(2 * np.pi * (50 + 900 * time) * time)
    clicks = np.where(rng.uniform(size=samples) < 0.002, rng.normal(size=samples), 0)
    waves = (
        0.3 * noise[0],
        0.003 * noise[1],
        0.2 * voice,
        0.02 * voice + 0.001 * noise[2],
        0.5 * chirp,
        clicks,
        0.1 * noise[3] * syllables,
        0.1 * voice + 0.1 * chirp * (1 - syllables),
    )
    return np.stack(waves).astype(np.float32)
