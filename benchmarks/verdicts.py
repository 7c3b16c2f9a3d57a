"""Verdicts on clips as they are, changed on their way, and on sound without speech; with and without the distance."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import load_audio
from aasist_jax.corpus.degradations import DEGRADATIONS
from aasist_jax.corpus.non_speech import NON_SPEECH
from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from aasist_jax.detection.batches import read_in_batches
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.verdict import LABELS, UNLIKE
from aasist_jax.errors import AudioError
from benchmarks.inputs import corpus_of
from benchmarks.options import Options
from benchmarks.rounds import BenchmarkError, Table

SECONDS, COUNT = 10, 20
"""Seconds of a sound without speech, and how many of each kind are made."""


def verdicts(options: Options) -> list[Table]:
    """Judge the clips of the eval split (at most `--clips` of each class) under every condition."""
    detector = Detector.from_pretrained(options.weights)
    if detector.calibration is None:
        raise BenchmarkError(f"{options.weights}: not calibrated; run aasist-jax calibrate first")
    clips, rows = read_asvspoof2019_la(corpus_of(options), "eval"), []
    for condition, change in {"as it is": lambda wave, rng: wave, **DEGRADATIONS}.items():
        for kind, label in (("human", "bonafide"), ("synthetic", "spoof")):
            paths = [clip.path for clip in clips if clip.label == label][: options.clips]
            waves = [partial(lambda path: load_audio(path).astype(np.float64), path) for path in paths]
            rows.append((condition, kind, *_shares(detector, waves, change)))
    for name, make in NON_SPEECH.items():
        rows.append((name, "no speech", *_shares(detector, [lambda: SECONDS * SAMPLE_RATE] * COUNT, make)))
    shares, bare = (" | ".join(f"{label}{over}:.1%" for label in LABELS) for over in ("", " without the distance"))
    columns = f"condition | of | recordings | {shares} | unlike:.1% | {bare} | no speech found:.1%"
    return [Table(f"Verdicts of {detector.model_id}", columns, rows)]


def _shares(detector: Detector, inputs: Sequence[Callable[[], Any]], change: Callable[..., Any]) -> tuple[float, ...]:
    """Count, shares of the labels, of those found unlike, of the labels without that check, and of no speech."""

    def source(number: int) -> Any:
        return change(inputs[number](), np.random.default_rng(number)).astype(np.float32), SAMPLE_RATE

    found: Any = list(read_in_batches(detector, [partial(source, number) for number in range(len(inputs))]))
    for fault in (each for each in found if isinstance(each, AudioError)):
        raise fault
    calibration: Any = detector.calibration
    scores = [detector.judge(*read) for read in found]
    detector.calibration = replace(calibration, domain=replace(calibration.domain, farthest=float("inf")))
    without = [detector.judge(*read) for read in found]
    detector.calibration = calibration
    labels, bare = ([np.mean([s.label == label for s in each]) for label in LABELS] for each in (scores, without))
    unlike, silent = np.mean([(UNLIKE in score.reasons, score.heard_seconds == 0) for score in scores], axis=0)
    return len(found), *labels, unlike, *bare, silent
