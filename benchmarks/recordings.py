"""Times the scoring of FLAC files beside the model alone, the timeline of long recordings, and live scoring."""

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aasist_jax.audio.load import iter_audio
from aasist_jax.detection.batches import score_in_batches
from aasist_jax.detection.cutting import Cut
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.model import GROUP
from aasist_jax.detection.overview import watched
from aasist_jax.detection.stream import score_timeline
from benchmarks.inputs import RATE, recording
from benchmarks.options import Options
from benchmarks.processes import REPOSITORY, child
from benchmarks.rounds import BenchmarkError, Implementation, Table, spread, take_turns, timing_table

TURN, COMPARED, LIVE = 120 * RATE, 120 * RATE, 60 * RATE
"""Lengths in samples: of a mode's turn, of the recording that both modes score, and of the one that is scored live."""


def scoring(options: Options) -> list[Table]:
    """Score the first window of clips of 1 to 4 s; a turn begins with nothing decoded, the command's with its process.

    The published score, because a clip of the corpus may hold no speech, and would then not be scored otherwise.
    """
    detector, folder = Detector.from_pretrained(options.weights), options.scratch / "clips"
    folder.mkdir()
    for i, clip in enumerate(np.split(recording(options, 4.0 * options.clips), options.clips)):
        soundfile.write(folder / f"{i:06}.flac", clip[: (1 + i % 4) * RATE], RATE)
    files = sorted(folder.iterdir())
    cuts = [cut for path in files for cut in detector.prepare(path, published=True).heard]
    found = {
        "model alone": Implementation(functools.partial(_model_alone, detector, cuts)),
        "from FLAC files": Implementation(functools.partial(_from_files, detector, files)),
        "aasist-jax score": Implementation(lambda: score_by_command(folder, options.weights), 1e-6),
    }
    turns = take_turns("scoring", found, rounds=options.rounds)
    return [timing_table(f"scoring, {GROUP} windows at once", [("scoring", len(files), one) for one in turns])]


def _model_alone(detector: Detector, cuts: list[Cut]) -> np.ndarray:
    return detector.read_out(cuts, "the clips")[:, 1]


def _from_files(detector: Detector, files: list[Path]) -> np.ndarray:
    scores: Any = score_in_batches(detector, [functools.partial(str, path) for path in files], published=True)
    return np.array([score.score for score in scores], np.float32)


def score_by_command(path: Path, weights: str, env: Any = None) -> np.ndarray:
    """Score files by a process of `aasist-jax score`; the scores."""
    command = [sys.executable, "-m", "aasist_jax", "score", str(path), "--weights", weights, "--published"]
    command += ["--format", "jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=env)
    if done.returncode:
        raise BenchmarkError(f"aasist-jax score: {done.stderr.strip()}")
    return np.array([json.loads(line)["score"] for line in done.stdout.splitlines()], np.float32)


def starts(options: Options) -> list[Table]:
    """Time `aasist-jax score` on one file, start to end: with no program compiled before, and with all."""
    file, rows = options.scratch / "one.flac", []
    soundfile.write(file, recording(options, 4.0), RATE)
    for i in range(min(options.rounds, 3)):
        env = dict.fromkeys(("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"), str(options.scratch / f"cache{i}"))
        call = Implementation(functools.partial(score_by_command, file, options.weights, os.environ | env))
        [timing] = take_turns("starts", {"score": call}, rounds=1)
        rows.append((timing.first_call_s, *timing.seconds))
    found = [(kind, *spread(times)) for kind, times in zip(("cold", "warm"), zip(*rows, strict=True), strict=True)]
    return [Table("`aasist-jax score` on one file", "compiled programs | s:.2f | lowest:.2f | highest:.2f", found)]


def timeline(options: Options) -> list[Table]:
    """Time a window every frame beside windows without overlap, of recordings of several lengths; memory, modes, live.

    Targets for an hour: at most 1.5 times the windows without overlap, less than 1 GB above the loaded model.
    """
    detector, longest = Detector.from_pretrained(options.weights), max(options.length)
    if min(options.length) < (shortest := detector.window / RATE):
        raise BenchmarkError(f"--length: expected at least a window, {shortest:g} s, got {min(options.length):g} s")
    wave = recording(options, longest)
    passes = [(seconds, *_beside_no_overlap(detector, wave[: round(seconds * RATE)])) for seconds in options.length]
    modes = [*_memory(options, wave), *_beside_exact(detector, wave[:COMPARED])]
    hop = min(0.5, detector.window / RATE)
    live = [_live(detector, wave[:LIVE], *mode) for mode in ((None, False), (hop, False), (hop, True))]
    columns = "length (s):g | windows | s:.4g | times real time:.2f | without overlap (s):.4g | ratio:.2f"
    delays = "a score comes after its window's end (s of audio):.3f | computing (ms):.0f | 99 % (ms):.0f"
    return [
        Table("timeline, a window every frame", f"{columns} | ratio, median turn:.2f", passes),
        Table(f"memory, of {longest:g} s; and the modes compared", "what | value:.4g", modes),
        Table("live, in chunks of 10 ms", f"mode | hop (s):.3f | {delays} | share of real time:.1%", live),
    ]


def score_file(weights: str, path: str) -> Callable[[], int]:
    """Make a call that scores a recording over time and counts its windows; a program of a child process."""
    detector = Detector.from_pretrained(weights)
    return lambda: len(score_timeline(detector, watched(iter_audio(path), None), hop=_frame(detector)).windows)


def _fine(detector: Detector, wave: np.ndarray) -> Any:
    # Giving memory back, as the command does. In the exact mode that would cost much, and flatter the ratio.
    return score_timeline(detector, watched([wave], None), hop=_frame(detector))


def _exact(detector: Detector, wave: np.ndarray, hop: float | None = None) -> Any:
    """The windows of the verdict, without overlap; with a hop, those, and each of a finer hop by itself."""
    return score_timeline(detector, [wave], exact=True, hop=hop)


def _frame(detector: Detector) -> float:
    """Seconds of an encoder frame; of a quarter of a window, for a model without frames."""
    geometry = detector.frame_geometry
    return (detector.window // 4 if geometry is None else geometry.stride) / RATE


def _beside_no_overlap(detector: Detector, wave: np.ndarray) -> tuple[float, ...]:
    """Count windows; give the seconds, the times real time, those of the other mode, and ratios."""
    pieces, windows = np.array_split(wave, max(round(wave.size / TURN), 1)), 0
    seconds = np.zeros((len(pieces), 2))
    for mode in (_fine, _exact):
        mode(detector, pieces[0])  # compiles
    for i, piece in enumerate(pieces):
        # The mode that begins changes, so that a load that grows or falls is shared.
        for j in (i % 2, 1 - i % 2):
            began = time.perf_counter()
            found = (_fine, _exact)[j](detector, piece)
            seconds[i, j] = time.perf_counter() - began
            windows += len(found.windows) * (j == 0)
    (fine, coarse), turns = seconds.sum(axis=0), spread(list(seconds[:, 0] / seconds[:, 1]))
    return windows, fine, wave.size / RATE / fine, coarse, fine / coarse, turns[0]


def _memory(options: Options, wave: np.ndarray) -> list[tuple[str, float]]:
    path = options.scratch / "long.flac"
    soundfile.write(path, wave, RATE)
    with child("timeline", "recordings.py:score_file", weights=options.weights, path=str(path)) as process:
        loaded = process.memory_mb("VmRSS")
        process.call()
        peak = process.memory_mb("VmHWM")
    return [("memory from the file, peak (MB)", peak), ("the same above the loaded model (MB)", peak - loaded)]


def _beside_exact(detector: Detector, wave: np.ndarray) -> list[tuple[str, float]]:
    shared = _fine(detector, wave)
    exact = _exact(detector, wave[: round(shared.windows[-2].end * RATE)], shared.hop)
    both = [
        (window.logits, alone.logits)
        for window, alone in zip(shared.windows, exact.windows, strict=False)
        if window.logits and alone.logits
    ]
    if not both:
        raise BenchmarkError("timeline: no window holds speech; give a corpus of speech, --corpus FOLDER")
    one, other = (np.array(logits) for logits in zip(*both, strict=True))
    off, same = np.abs(one[:, 1] - other[:, 1]), one.argmax(axis=1) == other.argmax(axis=1)
    found = [("windows in both modes", len(one)), ("same label (%)", 100 * same.mean())]
    found += [("scores: correlation", np.corrcoef(one[:, 1], other[:, 1])[0, 1]), ("difference on average", off.mean())]
    return [*found, ("difference, 99 %", np.percentile(off, 99)), ("difference at most", off.max())]


def _live(detector: Detector, wave: np.ndarray, hop: float | None, exact: bool) -> tuple[Any, ...]:
    """Push chunks of 10 ms: how late is each score, in audio and in computing?"""
    detector.stream(hop=hop, exact=exact).push(wave[: 2 * detector.window])  # compiles
    stream, chunk, late, taken = detector.stream(hop=hop, exact=exact), RATE // 100, [], []
    for start in range(0, wave.size, chunk):
        began = time.perf_counter()
        windows = stream.push(wave[start : start + chunk])
        taken.append((1e3 * (time.perf_counter() - began), bool(windows)))
        late += [(start + chunk) / RATE - window.end for window in windows]
    scored = [ms for ms, gave_windows in taken if gave_windows]
    mode = "windows of the verdict" if hop is None else "exact" if stream.exact else "shared encoder"
    share = sum(ms for ms, _ in taken) * RATE / wave.size / 1e3
    return mode, stream.hop, max(late), *np.percentile(scored, [50, 99]), share
