"""Verdicts on clips as they are, changed on their way, and on sound without speech; with and without the checks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import load_audio
from aasist_jax.calibration.detector_calibration import DetectorCalibration
from aasist_jax.corpus.degradations import DEGRADATIONS
from aasist_jax.corpus.non_speech import NON_SPEECH
from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from aasist_jax.detection.batches import read_in_batches
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.result import Prepared
from aasist_jax.detection.verdict import LABELS, UNLIKE
from aasist_jax.errors import AudioError
from benchmarks.inputs import corpus_of
from benchmarks.options import Options
from benchmarks.rounds import BenchmarkError, Table

NON_SPEECH_SECONDS, NON_SPEECH_COUNT = 10, 20

Read = tuple[Prepared, np.ndarray]


def verdicts(options: Options) -> list[Table]:
    """Judge the clips of the eval split (at most `--clips` of each class) under every condition."""
    detector = Detector.from_pretrained(options.weights)
    calibration = detector.calibration
    if calibration is None:
        raise BenchmarkError(f"{options.weights}: not calibrated; run aasist-jax calibrate first")
    clips = read_asvspoof2019_la(corpus_of(options), "eval")
    kinds = {
        name: [clip for clip in clips if clip.label == label][: options.clips]
        for name, label in (("human", "bonafide"), ("synthetic", "spoof"))
    }
    conditions: dict[str, Callable[..., np.ndarray]] = {"as it is": lambda wave, rng: wave, **DEGRADATIONS}
    rows = []
    for condition, change in conditions.items():
        for kind, members in kinds.items():
            sources = [_changed(clip.path, change, number) for number, clip in enumerate(members)]
            rows.append((condition, kind, *_shares(detector, calibration, list(_read(detector, sources)))))
    for name, make in NON_SPEECH.items():
        sources = [_made(make, seed) for seed in range(NON_SPEECH_COUNT)]
        rows.append((name, "no speech", *_shares(detector, calibration, list(_read(detector, sources)))))
    shares = " | ".join(f"{label}:.1%" for label in LABELS)
    bare = " | ".join(f"{label} without the distance:.1%" for label in LABELS)
    columns = f"condition | of | recordings | {shares} | unlike:.1% | {bare} | no speech found:.1%"
    return [Table(f"Verdicts of {detector.model_id}", columns, rows)]


def _read(detector: Detector, sources: Sequence[Callable[[], Any]]) -> Iterator[Read]:
    for read in read_in_batches(detector, sources):
        if isinstance(read, AudioError):
            raise read
        yield read


def _shares(detector: Detector, calibration: DetectorCalibration, found: Sequence[Read]) -> tuple[float, ...]:
    """Count, shares of the labels, of those found unlike, of the labels without that check, and of no speech."""
    near = replace(calibration, domain=replace(calibration.domain, farthest=float("inf")))
    scores = [detector.judge(*read) for read in found]
    detector.calibration = near
    without = [detector.judge(*read) for read in found]
    detector.calibration = calibration
    share = lambda values: sum(values) / len(found)  # noqa: E731
    return (
        len(found),
        *(share(score.label == label for score in scores) for label in LABELS),
        share(UNLIKE in score.reasons for score in scores),
        *(share(score.label == label for score in without) for label in LABELS),
        share(score.heard_seconds == 0 for score in scores),
    )


def _changed(path: Any, change: Callable[..., np.ndarray], number: int) -> Callable[[], Any]:
    def source() -> Any:
        wave = load_audio(path).astype(np.float64)
        return change(wave, np.random.default_rng(number)).astype(np.float32), SAMPLE_RATE

    return source


def _made(make: Callable[..., np.ndarray], seed: int) -> Callable[[], Any]:
    samples = NON_SPEECH_SECONDS * SAMPLE_RATE
    return lambda: (make(samples, np.random.default_rng(seed)).astype(np.float32), SAMPLE_RATE)
