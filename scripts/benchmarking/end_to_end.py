"""Scoring from FLAC files, once it runs, against the model alone on the same windows in memory."""

import functools
import itertools
from pathlib import Path

import numpy as np

from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from aasist_jax.detection.batches import score_in_batches
from aasist_jax.detection.detector import BATCH_SIZE, Detector
from aasist_jax.errors import AudioError
from scripts.benchmarking.pipeline import NO_CORPUS
from scripts.benchmarking.setting import Section, Setting
from scripts.benchmarking.turns import BenchmarkError, Contender, take_turns, turns_table


def measure_end_to_end(setting: Setting) -> Section:
    """Score the same files block by block, the model alone and from FLAC by turns.

    Each turn begins with nothing decoded, so that no thread reads ahead while the other's clock runs; the wait for the
    first batch is part of every block.
    """
    if setting.corpus is None:
        return Section(notes=[f"end-to-end: {NO_CORPUS}"])
    detector = Detector(setting.weights)
    files = scorable(detector, [u.path for u in read_asvspoof2019_la(setting.corpus, "eval")], setting.block)
    windows = np.concatenate([detector.prepare(path).windows for path in files])
    contenders = {
        "model alone": Contender(lambda: model_alone(detector, windows), 0.0),
        "from FLAC files": Contender(lambda: from_files(detector, files), 0.0),
    }
    rows = [("end to end", len(files), turns) for turns in take_turns("end to end", contenders, rounds=setting.rounds)]
    title = (
        f"end to end: blocks of {len(files)} FLAC files, batches of {BATCH_SIZE}, {setting.weights.model_id}, "
        f"{setting.threads} threads, medians of {setting.rounds} rounds"
    )
    figures = [{"what": what, "clips": clips} | turns.figures() for what, clips, turns in rows]
    return Section(figures, [turns_table(title, rows)])


def scorable(detector: Detector, paths: list[Path], count: int) -> list[Path]:
    """Take the first `count` recordings, spread over the list, that have something to judge."""
    spread = paths[:: max(len(paths) // count, 1)]
    found = list(itertools.islice((path for path in spread if len(detector.prepare(path).windows)), count))
    if not found:
        raise BenchmarkError("end to end: the corpus has no recordings that can be scored")
    return found


def model_alone(detector: Detector, windows: np.ndarray) -> np.ndarray:
    """Score windows in batches of one size, the last filled up, as the files' windows are scored."""
    parts = []
    for start in range(0, len(windows), BATCH_SIZE):
        part = windows[start : start + BATCH_SIZE]
        padded = np.pad(part, ((0, BATCH_SIZE - len(part)), (0, 0)))
        parts.append(detector.batch_logits(padded)[: len(part)])
    return np.concatenate(parts)


def from_files(detector: Detector, files: list[Path]) -> np.ndarray:
    """Score files, as `aasist-jax score` does."""
    rows = []
    for score in score_in_batches(detector, [functools.partial(str, path) for path in files], batch_size=BATCH_SIZE):
        if isinstance(score, AudioError) or score.logits is None:
            raise BenchmarkError(f"end to end: {score}")
        rows.append(score.logits)
    return np.array(rows, np.float32)
