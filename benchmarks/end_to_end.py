"""Scoring and training, from files on: whole recordings, over time and live; the input pipeline, an epoch, devices."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aasist_jax.audio.load import iter_audio
from aasist_jax.data.cache import open_cache
from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from aasist_jax.data.pipeline import ClipSource, train_dataset
from aasist_jax.detection.batches import score_in_batches
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.model import GROUP
from aasist_jax.detection.overview import watched
from aasist_jax.detection.stream import score_timeline
from aasist_jax.models.family import Window
from benchmarks.inputs import RATE, corpus_of, recording, write_corpus, write_random_weights
from benchmarks.options import Options
from benchmarks.processes import REPOSITORY, child
from benchmarks.rounds import BenchmarkError, Implementation, Table, spread, take_turns, timed, timing_table

TURN, COMPARED, LIVE = 120 * RATE, 120 * RATE, 60 * RATE
"""Lengths in samples: of a mode's turn, of the recording that both modes score, and of the one that is scored live."""

EPOCH_CLIPS, BATCH, SAMPLES, WORKERS = 25_380, 24, 64_600, 2
"""Training clips of ASVspoof 2019 LA; clips of a batch that is drawn, samples of a clip, processes that draw."""

WARM_UP, BATCHES = 8, 40
"""Batches before the clock starts, which are more than the read-ahead buffers hold, and after."""

STEPS, SAME_LOSS = 4, 1e-4
"""Steps on several devices, and the largest relative difference of a loss."""


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

    def from_files() -> np.ndarray:
        scores: Any = score_in_batches(detector, [partial(str, path) for path in files], published=True)
        return np.array([score.score for score in scores], np.float32)

    found = {
        "model alone": Implementation(lambda: detector.read_out(cuts, "the clips")[:, 1]),
        "from FLAC files": Implementation(from_files),
        "aasist-jax score": Implementation(partial(score_by_command, folder, options.weights), 1e-6),
    }
    turns = take_turns("scoring", found, rounds=options.rounds)
    return [timing_table(f"scoring, {GROUP} windows at once", [("scoring", len(files), one) for one in turns])]


def starts(options: Options) -> list[Table]:
    """Time `aasist-jax score` on one file, start to end: with no program compiled before, and with all."""
    file, rows = options.scratch / "one.flac", []
    soundfile.write(file, recording(options, 4.0), RATE)
    for i in range(min(options.rounds, 3)):
        env = dict.fromkeys(("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"), str(options.scratch / f"cache{i}"))
        call = Implementation(partial(score_by_command, file, options.weights, env))
        [timing] = take_turns("starts", {"score": call}, rounds=1)
        rows.append((timing.first_call_s, *timing.seconds))
    found = [(kind, *spread(times)) for kind, times in zip(("cold", "warm"), zip(*rows, strict=True), strict=True)]
    return [Table("`aasist-jax score` on one file", "compiled programs | s:.2f | lowest:.2f | highest:.2f", found)]


def score_by_command(path: Path, weights: str, env: Mapping[str, str] | None = None) -> np.ndarray:
    """Score files by a process of `aasist-jax score`; the scores."""
    arguments = (path, "--weights", weights, "--published", "--format", "jsonl")
    lines = _run("-m", "aasist_jax", "score", *arguments, env=env).splitlines()
    return np.array([json.loads(line)["score"] for line in lines], np.float32)


def _run(*arguments: Any, env: Mapping[str, str] | None = None) -> str:
    """What a process of Python with these arguments and further environment variables prints."""
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | dict(env or {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command[1:4])}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def timeline(options: Options) -> list[Table]:
    """Time a window every frame beside windows without overlap, of recordings of several lengths; memory, modes, live.

    Targets for an hour: at most 1.5 times the windows without overlap, less than 1 GB above the loaded model.
    """
    detector, longest = Detector.from_pretrained(options.weights), max(options.length)
    if min(options.length) < (shortest := detector.window / RATE):
        raise BenchmarkError(f"--length: expected at least a window, {shortest:g} s, got {min(options.length):g} s")
    wave, hop = recording(options, longest), min(0.5, shortest)
    passes = [(seconds, *_beside_no_overlap(detector, wave[: round(seconds * RATE)])) for seconds in options.length]
    soundfile.write(path := options.scratch / "long.flac", wave, RATE)
    with child("timeline", "end_to_end.py:score_file", weights=options.weights, path=str(path)) as process:
        loaded = process.memory_mb("VmRSS")
        process.call()
        peak = process.memory_mb("VmHWM")
    modes = [("memory from the file, peak (MB)", peak), ("the same above the loaded model (MB)", peak - loaded)]
    modes += _beside_exact(detector, wave[:COMPARED])
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
    return lambda: len(_fine(detector, iter_audio(path)).windows)


def _fine(detector: Detector, blocks: Any) -> Any:
    """A window every encoder frame, or every quarter of a window for a model without frames."""
    stride = detector.frame_geometry.stride if detector.frame_geometry else detector.window // 4
    # Giving memory back, as the command does. In the exact mode that would cost much, and flatter the ratio.
    return score_timeline(detector, watched(blocks, None), hop=stride / RATE)


def _exact(detector: Detector, blocks: Any, hop: float | None = None) -> Any:
    """The windows of the verdict, without overlap; with a hop, those, and each of a finer hop by itself."""
    return score_timeline(detector, blocks, exact=True, hop=hop)


def _beside_no_overlap(detector: Detector, wave: np.ndarray) -> tuple[float, ...]:
    """Count windows; give the seconds, the times real time, those of the other mode, and ratios."""
    pieces, windows = np.array_split(wave, max(round(wave.size / TURN), 1)), 0
    seconds = np.zeros((len(pieces), 2))
    for mode in (_fine, _exact):
        mode(detector, [pieces[0]])  # compiles
    for i, piece in enumerate(pieces):
        # The mode that begins changes, so that a load that grows or falls is shared.
        for j in (i % 2, 1 - i % 2):
            found, seconds[i, j] = timed(partial((_fine, _exact)[j], detector, [piece]))
            windows += len(found.windows) * (j == 0)
    (fine, coarse), turns = seconds.sum(axis=0), spread(list(seconds[:, 0] / seconds[:, 1]))
    return windows, fine, wave.size / RATE / fine, coarse, fine / coarse, turns[0]


def _beside_exact(detector: Detector, wave: np.ndarray) -> list[tuple[str, float]]:
    """How far the scores of the shared encoder are from those of windows by themselves."""
    shared = _fine(detector, [wave])
    exact = _exact(detector, [wave[: round(shared.windows[-2].end * RATE)]], shared.hop)
    pairs = zip(shared.windows, exact.windows, strict=False)
    both = np.array([(window.logits, alone.logits) for window, alone in pairs if window.logits and alone.logits])
    if not both.size:
        raise BenchmarkError("timeline: no window holds speech; give a corpus of speech, --corpus FOLDER")
    (one, other), labels = both[:, :, 1].T, both.argmax(axis=2).T
    off = np.abs(one - other)
    found = [("windows in both modes", len(both)), ("same label (%)", 100 * (labels[0] == labels[1]).mean())]
    found += [("scores: correlation", np.corrcoef(one, other)[0, 1]), ("difference on average", off.mean())]
    return [*found, ("difference, 99 %", np.percentile(off, 99)), ("difference at most", off.max())]


def _live(detector: Detector, wave: np.ndarray, hop: float | None, exact: bool) -> tuple[Any, ...]:
    """Push chunks of 10 ms: how late is each score, in audio and in computing?"""
    detector.stream(hop=hop, exact=exact).push(wave[: 2 * detector.window])  # compiles
    stream, chunk, late, scored, spent = detector.stream(hop=hop, exact=exact), RATE // 100, [0.0], [], 0.0
    for start in range(0, wave.size, chunk):
        windows, taken = timed(partial(stream.push, wave[start : start + chunk]))
        spent += taken
        scored += [1e3 * taken] if windows else []
        late += [(start + chunk) / RATE - window.end for window in windows]
    mode = "windows of the verdict" if hop is None else "exact" if stream.exact else "shared encoder"
    return mode, stream.hop, max(late), *np.percentile(scored, [50, 99]), spent * RATE / wave.size


def pipeline(options: Options) -> list[Table]:
    """Draw batches from FLAC files and from the decoded cache by turns, only the clock waiting; then train."""
    utterances = read_asvspoof2019_la(corpus_of(options), "train")
    sources = {"FLAC": ClipSource(utterances)}
    sources["cache"] = ClipSource(utterances, open_cache(options.scratch / "cache", utterances))
    variants = [(name, workers) for name in sources for workers in (0, WORKERS)]
    runs = [[_draw(sources[name], workers) for name, workers in variants] for _ in range(min(options.rounds, 3))]
    firsts, speeds = np.array(runs).T
    rates = [(*each, spread(firsts[i])[0], *spread(speeds[i])) for i, each in enumerate(variants)]
    epochs = []
    for size in options.steps:
        log = (train(options, f"epoch{size}", size, options.clips) / "log.jsonl").read_text().splitlines()
        # What the last step's line says of the last twenty steps.
        last = [line for line in map(json.loads, log) if "loss" in line][-1]
        epochs.append((size, speed := last["clips_per_second"], last["data_wait_share"], EPOCH_CLIPS / speed))
    columns = "source | workers | first batch (s):.2f | clips/s:.0f | lowest:.0f | highest:.0f"
    of_epoch = f"batch | clips/s:.4g | waiting for data:.2% | {EPOCH_CLIPS} clips, extrapolated (s):.0f"
    return [
        Table(f"input pipeline, {len(utterances)} clips, batch {BATCH}", columns, rates),
        Table("an epoch on noise from the decoded cache, loader included", of_epoch, epochs),
    ]


def _draw(source: ClipSource, workers: int) -> tuple[float, float]:
    """Seconds to the first batch, and clips per second after the warm-up."""
    began = time.perf_counter()
    iterator = iter(train_dataset(source, window=Window(SAMPLES, SAMPLES), batch_size=BATCH, seed=0, workers=workers))
    times = []
    for _ in range(1 + WARM_UP + BATCHES):
        next(iterator)
        times.append(time.perf_counter())
    iterator.close()
    return times[0] - began, BATCHES * BATCH / (times[-1] - times[WARM_UP])


def train(options: Options, name: str, batch: int, clips: int, augmentation: Sequence[Any] = ()) -> Path:
    """Train for an epoch, at least three steps, on a corpus of noise by `scripts/train.py`; returns the run folder."""
    folder, count = options.scratch / name, max(clips, 3 * batch)
    model = json.loads(Path(options.weights, "config.json").read_text())["model_config"]
    config: dict[str, Any] = {"model_config": model, "optim_config": {}, "batch_size": batch, "num_epochs": 1}
    config["database_path"] = str(write_corpus(folder / "LA", {"train": count, "dev": 8}))
    config["data_config"] = {"cache": str(folder / "cache"), "augmentation": list(augmentation)}
    config["train_config"] = {"init": options.weights, "log_steps": 1}
    (folder / "config.json").write_text(json.dumps(config))
    _run("scripts/train.py", "--config", folder / "config.json", "--output", folder / "run")
    return folder / "run"


def devices(options: Options) -> list[Table]:
    """Take steps of one batch on several devices; the losses must agree.

    On a CPU the devices are virtual, and the model a small one: they share the cores, so it gets no faster.
    """
    size, rows, first = max(options.steps), [], np.empty(0)
    if uneven := [count for count in options.devices if size % count]:
        raise BenchmarkError(f"--devices: {size} clips cannot be shared evenly by {uneven[0]} devices")
    weights = options.weights if options.gpu else str(write_random_weights(options.scratch / "small"))
    for count in options.devices:
        env = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(count)))}
        env |= {} if options.gpu else {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(count)}
        own: Any = {"weights": weights, "batch": size, "precision": None, "devices": count}
        with child(f"{count} devices", "jax_programs.py:training_step", env=env, **own) as process:
            losses, seconds = np.array([(*loss, took) for loss, took in (timed(process.call) for _ in range(STEPS))]).T
        first = first if first.size else losses
        difference = float(np.abs(losses / first - 1).max())
        if not difference <= SAME_LOSS:
            off = f"{difference:.1e} from those of {options.devices[0]}, relative, where {SAME_LOSS:g} is allowed"
            raise BenchmarkError(f"{count} devices: losses are off by {off}")
        rows.append((count, losses[-1], difference, 1e3 * seconds[1:].min(), size / seconds[1:].min()))
    columns = f"{'' if options.gpu else 'virtual '}devices | loss after {STEPS} steps:.6f | off by, relative:.0e"
    return [Table(f"training step of {size} clips", f"{columns} | quickest step (ms):.3g | clips/s:.4g", rows)]


def determinism(options: Options) -> list[Table]:
    """Score twice and train twice, each time in a fresh process, and compare the bits."""
    found, batch, size = [], options.batch[-1], options.steps[0]
    for i in range(2):
        with child("inference", "jax_programs.py:inference", weights=options.weights, batch=batch) as process:
            logits = process.call().tobytes()
        found.append((logits, (train(options, f"run{i}", size, 1) / "weights" / "model.safetensors").read_bytes()))
    what = (f"logits of {batch} clips", f"weights after 3 training steps of {size} clips")
    rows = [(name, one == other) for name, one, other in zip(what, *found, strict=True)]
    return [Table("determinism: two runs", "what | same bits", rows)]
