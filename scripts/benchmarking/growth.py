"""How the cost grows: with the batch, with the length of a recording, with devices."""

import itertools
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.stream import score_timeline
from aasist_jax.detection.timeline_plot import watched
from aasist_jax.weights.folder import Weights
from scripts.benchmark_timeline import recording
from scripts.benchmarking.child import run_child
from scripts.benchmarking.inputs import labels, noise
from scripts.benchmarking.jax_contenders import jax_training
from scripts.benchmarking.setting import Section, Setting
from scripts.benchmarking.tables import make_table
from scripts.benchmarking.turns import BenchmarkError, Contender, take_turns

BATCHES = (1, 2, 4, 8, 16, 24)
SAME_ROW = 1e-4
"""How far a clip's logits may move with the size of its batch."""

LONG = 600.0
"""Seconds of a recording from which one pass is enough: it is made of many batches, and takes minutes."""

SAME_LOSS = 1e-5
"""Largest relative difference of the loss between counts of devices."""

STEPS, DEVICE_BATCH = 4, 8
LINK = 12.5e9
"""Bytes per second and direction between devices that the paper figures assume: a network of 100 Gbit/s."""


def measure_batches(setting: Setting) -> Section:
    """Time inference at growing batches, which take turns; the first clip's logits must stay."""
    detector = Detector(setting.weights)
    waves = noise(max(BATCHES), detector.window)

    def first_row(size: int) -> Contender:
        return Contender(lambda: detector.batch_logits(waves[:size])[:1], SAME_ROW)

    turns = take_turns("growth-batch", {str(size): first_row(size) for size in BATCHES}, rounds=setting.rounds)
    figures: list[dict[str, Any]] = []
    for size, one in zip(BATCHES, turns, strict=True):
        # A clip's share of the time, against a clip by itself, round by round.
        shares = [1 / (size * speed) for speed in one.speed]
        figures.append({"batch": size, "share_of_batch_1": shares} | one.figures())
    rows = [
        (
            str(f["batch"]),
            f"{1e3 * f['median_s']:.4g}",
            f"{1e3 * f['median_s'] / f['batch']:.4g}",
            *(f"{x:.2f}" for x in _spread(f["share_of_batch_1"])),
        )
        for f in figures
    ]
    columns = ("batch", "ms", "ms a clip", "a clip, times batch 1", "lowest", "highest")
    return Section(figures, [make_table("cost with the batch: inference", columns, rows, texts=0)])


def measure_lengths(setting: Setting) -> Section:
    """Time the timeline of recordings of growing length, which take turns."""
    detector = Detector(setting.weights)
    folder = None if setting.corpus is None else setting.corpus / "ASVspoof2019_LA_eval" / "flac"
    lengths = sorted(setting.lengths)
    shortest = detector.window / SAMPLE_RATE
    if lengths[0] < shortest:
        raise BenchmarkError(f"growth-length: expected at least a window, {shortest:g} s, got {lengths[0]:g} s")
    wave = recording(folder, round(lengths[-1] * SAMPLE_RATE))
    seconds: dict[float, list[float]] = {length: [] for length in lengths}
    windows: dict[float, int] = {}

    def score(length: float) -> int:
        return len(score_timeline(detector, watched([wave[: round(length * SAMPLE_RATE)]], None)).windows)

    for length in lengths:
        if length < LONG:
            score(length)
    for i, length in itertools.product(range(setting.rounds), lengths):
        if i == 0 or length < LONG:
            began = time.perf_counter()
            windows[length] = score(length)
            seconds[length].append(time.perf_counter() - began)
    figures = [{"length_s": length, "windows": windows[length], "seconds": seconds[length]} for length in lengths]
    rows = []
    for length in lengths:
        figure = statistics.median(seconds[length])
        spread = (f"{x:.4g}" for x in _spread(seconds[length]))
        rows.append((f"{length:g}", str(windows[length]), str(len(seconds[length])), *spread, f"{length / figure:.4g}"))
    columns = ("length (s)", "windows", "passes", "s", "lowest", "highest", "times real time")
    title = "cost with the length: the timeline, a window every frame"
    return Section(figures, [make_table(title, columns, rows, texts=0)])


def measure_devices(setting: Setting) -> Section:
    """Check that virtual devices give the same losses, and work out on paper what real ones would take."""
    checked = _virtual_devices(setting.devices)
    size = max(setting.train_batches)
    counts = [n for n in (1, 2, 4, 8) if size % n == 0]
    compute = {n: _step_seconds(setting, size // n) for n in counts}
    paper = paper_steps(compute, reduced_bytes(setting.weights))
    rows = [
        (
            str(f["devices"]),
            str(size // f["devices"]),
            f"{1e3 * f['compute_s']:.4g}",
            f"{1e3 * f['exchange_s']:.3g}",
            f"{1e3 * f['step_s']:.4g}",
            f"{f['speed_up']:.2f}",
        )
        for f in paper
    ]
    columns = (
        "devices",
        "clips each",
        "measured on one (ms)",
        "exchange, on paper (ms)",
        "step, on paper (ms)",
        "times",
    )
    title = f"cost with devices, ON PAPER: batch {size}, measured parts and a link of {LINK / 1e9:g} GB/s assumed"
    return Section(
        [{"what": "virtual"} | f for f in checked.figures] + [{"what": "paper", "batch": size} | f for f in paper],
        [*checked.tables, make_table(title, columns, rows, texts=0)],
    )


def _virtual_devices(counts: Sequence[int]) -> Section:
    figures: list[dict[str, Any]] = []
    for count in counts:
        if DEVICE_BATCH % count:
            raise BenchmarkError(f"growth-devices: {DEVICE_BATCH} clips cannot be shared evenly by {count} devices")
        # Virtual devices are the CPU's, whatever else there is.
        environment = {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(count),
        }
        found = run_child("devices", {"batch": DEVICE_BATCH, "steps": STEPS}, environment)
        expected = np.array((figures[0] if figures else found)["losses"])
        found["difference"] = float(np.max(np.abs(np.array(found["losses"]) / expected - 1)))
        if found["devices"] != count or not found["difference"] <= SAME_LOSS:
            raise BenchmarkError(
                f"growth-devices: {found['devices']} of {count} devices, losses {found['difference']:.1e} off relative "
                f"to those of {counts[0]}, where {SAME_LOSS:g} is allowed"
            )
        figures.append(found)
    rows = [
        (str(f["devices"]), f"{f['losses'][-1]:.6f}", f"{f['difference']:.0e}", f"{1e3 * min(f['seconds'][1:]):.3g}")
        for f in figures
    ]
    columns = ("virtual devices", f"loss after {STEPS} steps", "off by, relative", "quickest step (ms)")
    title = f"devices, checked: a small model, batch {DEVICE_BATCH}, virtual devices that share the cores"
    return Section(figures, [make_table(title, columns, rows, texts=0)])


def _step_seconds(setting: Setting, size: int) -> float:
    call = jax_training(setting.weights, noise(size, setting.weights.config.nb_samp), labels(size))
    turns = take_turns(f"growth-devices, {size} clips", {str(size): Contender(call, 0.0)}, rounds=setting.rounds)
    return turns[0].median


def reduced_bytes(weights: Weights) -> int:
    """Bytes of float32 that devices add up in a step: the gradient, and mean and variance of every batch norm."""
    params = sum(leaf.size for leaf in jax.tree.leaves(weights.variables["params"]))
    statistics_ = sum(leaf.size for leaf in jax.tree.leaves(weights.variables["batch_stats"]) if leaf.ndim)
    return int(4 * (params + statistics_))


def paper_steps(compute: dict[int, float], exchanged: int, link: float = LINK) -> list[dict[str, Any]]:
    """Work out steps on N devices: the measured time of a device's part, then a ring of 2 (N - 1) / N of the bytes.

    On paper: nothing overlaps, and the many small exchanges of batch norm cost their bytes but no delay.
    """
    steps = []
    for devices, seconds in compute.items():
        exchange = 2 * (devices - 1) / devices * exchanged / link
        steps.append({"devices": devices, "compute_s": seconds, "exchange_s": exchange, "step_s": seconds + exchange})
    return [step | {"speed_up": steps[0]["step_s"] / step["step_s"]} for step in steps]


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)
