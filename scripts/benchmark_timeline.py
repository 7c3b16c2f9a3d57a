"""Time the timeline of a long recording against one pass of windows that do not overlap, and measure its memory.

    python scripts/benchmark_timeline.py --weights AASIST-L --corpus DATA/ASVspoof2019_LA_eval/flac

The recording is made of the corpus' clips one after another (without a corpus, of noise). On a shared machine only the
ratio of two passes that took turns, section by section, means anything: that is what is shown, with the scores of the
two modes compared and the delay of live scoring. The target for an hour: at most 1.5 times the pass without overlap,
and less than 1 GB of memory above the loaded model.
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import load_audio
from aasist_jax.commands.app import run
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.stream import score_timeline
from aasist_jax.detection.timeline_plot import watched
from aasist_jax.runtime.start_up import prepare_to_compute
from aasist_jax.weights.published import find_weights

CHILD = """
import json, sys, time
from pathlib import Path
from aasist_jax.audio import iter_audio
from aasist_jax.runtime.start_up import prepare_to_compute
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.stream import score_timeline
from aasist_jax.detection.timeline_command import watched

def memory(field):
    # Not ru_maxrss, which begins with what the parent had.
    return 1024 * int(Path("/proc/self/status").read_text().partition(field + ":")[2].split()[0])

prepare_to_compute()
detector = Detector.from_pretrained(sys.argv[1])
loaded = memory("VmRSS")
start = time.perf_counter()
timeline = score_timeline(detector, watched(iter_audio(sys.argv[2]), None))
seconds = time.perf_counter() - start
print(json.dumps([len(timeline.windows), seconds, loaded, memory("VmHWM")]))
"""


def main(
    weights: Annotated[str, typer.Option(help="A weights folder, or the name of fetched weights.")] = "AASIST-L",
    corpus: Annotated[Path | None, typer.Option(help="A folder of FLAC files to make the recording of.")] = None,
    minutes: Annotated[float, typer.Option(min=1, help="Length of the recording.")] = 60,
    section: Annotated[float, typer.Option(min=0.1, help="Minutes that each mode takes before the other's turn.")] = 2,
    compared: Annotated[float, typer.Option(min=0.1, help="Minutes scored in both modes with the same windows.")] = 3,
) -> None:
    """Print the ratio, the memory, the difference between the modes, and the delay of live scoring."""
    prepare_to_compute()
    folder = find_weights(weights)
    detector = Detector.from_pretrained(folder)
    wave = recording(corpus, round(60 * minutes * SAMPLE_RATE))
    print(f"{wave.size / SAMPLE_RATE:.0f} s, {detector.weights.model_id}")

    window = detector.window / SAMPLE_RATE
    sections = np.array_split(wave, max(round(minutes / section), 1))
    fine_options: dict[str, Any] = {}
    coarse_options: dict[str, Any] = {"exact": True, "hop": window}
    for options in (fine_options, coarse_options):
        timeline(detector, sections[0], **options)  # compiles
    seconds, windows = np.zeros((len(sections), 2)), 0
    for i, part in enumerate(sections):
        # Whoever begins changes, so that a load that grows or falls is shared.
        for j in (i % 2, 1 - i % 2):
            start = time.perf_counter()
            found = timeline(detector, part, **(fine_options, coarse_options)[j])
            seconds[i, j] = time.perf_counter() - start
            windows += len(found.windows) if j == 0 else 0
    fine, coarse = seconds.sum(axis=0)
    print(f"timeline, hop of one frame: {windows} windows in {fine:.1f} s")
    print(f"windows without overlap, each by itself: {coarse:.1f} s")
    ratios = seconds[:, 0] / seconds[:, 1]
    print(f"ratio {fine / coarse:.2f} (of {len(sections)} sections taking turns: median {np.median(ratios):.2f})")

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "long.flac")
        soundfile.write(path, wave, SAMPLE_RATE)
        child = [sys.executable, "-c", CHILD, str(folder), str(path)]
        done = subprocess.run(child, capture_output=True, text=True, check=True)
    count, taken, loaded, peak = json.loads(done.stdout)
    print(
        f"memory, from the file: peak {peak / 1e6:.0f} MB, {(peak - loaded) / 1e6:.0f} MB above the loaded model "
        f"({count} windows in {taken:.1f} s)"
    )

    part = wave[: round(60 * compared * SAMPLE_RATE)]
    shared = timeline(detector, part)
    exact_scores = timeline(detector, part[: round((shared.windows[-2].end) * SAMPLE_RATE)], exact=True, hop=shared.hop)
    one, other = (np.array([w.logits for w in t.windows if w.logits]) for t in (shared, exact_scores))
    one = one[: len(other)]
    difference = np.abs(one[:, 1] - other[:, 1])
    same = np.mean((one[:, 1] > one[:, 0]) == (other[:, 1] > other[:, 0]))
    print(
        f"scores against the exact mode, {len(one)} windows: "
        f"correlation {np.corrcoef(one[:, 1], other[:, 1])[0, 1]:.4f}, "
        f"difference {difference.mean():.3f} on average, {np.percentile(difference, 99):.3f} (99 %), "
        f"{difference.max():.3f} at most; same label {100 * same:.1f} %"
    )
    live(detector, wave[: 60 * SAMPLE_RATE])


def recording(corpus: Path | None, samples: int) -> np.ndarray:
    """The clips of a folder one after another, in an order drawn once, again from the start if they are too few."""
    rng = np.random.default_rng(0)
    if corpus is None:
        return (0.1 * rng.normal(size=samples)).astype(np.float32)
    files = sorted(corpus.glob("*.flac"))
    clips, have = [], 0
    for file in itertools.cycle(rng.permutation(np.array(files))):
        clips.append(load_audio(file))
        have += clips[-1].size
        if have >= samples:
            return np.concatenate(clips)[:samples]
    raise typer.BadParameter(f"{corpus}: no FLAC files there")


def timeline(detector: Detector, wave: np.ndarray, **options: Any) -> Any:
    """Score samples; giving memory back, as the command does, would slow the exact mode and flatter the ratio."""
    return score_timeline(detector, [wave] if options.get("exact") else watched([wave], None), **options)


def live(detector: Detector, wave: np.ndarray) -> None:
    """Push chunks of 10 ms; how late is each score, in audio and in computing?"""
    chunk = SAMPLE_RATE // 100
    for hop, exact in ((None, False), (0.5, False), (0.5, True)):
        stream = detector.stream(hop=hop, exact=exact)
        detector.stream(hop=hop, exact=exact).push(wave[: 2 * detector.window])  # compiles
        late, taken, total = [], [], 0.0
        for start in range(0, wave.size, chunk):
            began = time.perf_counter()
            windows = stream.push(wave[start : start + chunk])
            seconds = time.perf_counter() - began
            total += seconds
            late += [start + chunk - round(window.end * SAMPLE_RATE) for window in windows]
            taken += [seconds] * bool(windows)
        mode = "exact" if stream.exact else "shared encoder"
        print(
            f"live, {mode}, hop {stream.hop:.3f} s: a score comes {max(late) / SAMPLE_RATE:.3f} s of audio after its "
            f"window's end, so at most {(max(late) / SAMPLE_RATE) + stream.hop:.3f} s after any sample; computing "
            f"takes {1e3 * np.median(taken):.0f} ms (99 %: {1e3 * np.percentile(taken, 99):.0f} ms), "
            f"{100 * total * SAMPLE_RATE / wave.size:.1f} % of real time"
        )


if __name__ == "__main__":
    run(main)
