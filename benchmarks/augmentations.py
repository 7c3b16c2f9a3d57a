"""What augmentation costs: each kind on one core, whole chains, and an epoch of training with one and without."""

import json
import resource
import statistics
import time
from typing import Any

import numpy as np

from aasist_jax.augmentation import Augmentation, Chain, OneOf, apply, augment, kind_of
from aasist_jax.config import parse_augmentation
from aasist_jax.data.augmented_files import example_chains, missing
from benchmarks.end_to_end import train
from benchmarks.inputs import RATE, recording
from benchmarks.options import Options
from benchmarks.rounds import Table, spread

SAMPLES, WAVES, DRAWS = 64_600, 16, 20
"""Samples of a window, how many windows a kind is timed on in a round, and how often a chain is drawn for each."""

CHAINS: dict[str, list[dict[str, Any]]] = {
    "RawBoost 3": [{"kind": "rawboost", "algorithm": 3}],
    "RawBoost 5": [{"kind": "rawboost", "algorithm": 5}],
    "channels": [
        {"kind": "speed", "probability": 0.3},
        {
            "probability": 0.6,
            "one_of": [
                {"kind": "rawboost", "algorithm": 4},
                {"kind": "reverberation"},
                {"kind": "noise", "source": "babble", "snr": [5, 20]},
                {"kind": "noise", "source": "pink", "snr": [5, 30]},
            ],
        },
        {"kind": "equaliser", "probability": 0.3},
        {
            "probability": 0.3,
            "one_of": [{"kind": "codec"}, {"kind": "band_limit"}, {"kind": "resampling"}, {"kind": "packet_loss"}],
        },
        {"kind": "level", "probability": 0.3},
    ],
}
"""Chains that are timed as a whole; the last is that of docs/training.md."""


def augmentation(options: Options) -> list[Table]:
    """Processor time, that of child processes included, so that a busy machine does not count."""
    wave = recording(options, WAVES * SAMPLES / RATE)
    waves = list(wave.astype(np.float32).reshape(WAVES, SAMPLES))
    kinds = []
    for name, (step,) in example_chains().items():
        if missing((step,)):
            kinds.append((name, *[float("nan")] * 4))
            continue
        assert isinstance(step, Augmentation)
        apply(step, waves[0], np.random.default_rng(0), waves)
        _warm_up((step,), waves)
        kinds.append((name, *_cost(lambda wave, rng, step=step: apply(step, wave, rng, waves), waves, options.rounds)))
    chains = []
    for name, raw in CHAINS.items():
        chain: Chain = parse_augmentation(raw, name, "chain")
        _warm_up(chain, waves)
        cost = _cost(lambda wave, rng, chain=chain: augment(wave, chain, rng, waves), waves * DRAWS, options.rounds)
        chains.append((name, *cost))
    columns = "ms:.2f | lowest:.2f | highest:.2f | clips/s on one core:.0f"
    titles = (f"augmentation, windows of {SAMPLES} samples", "chains, on average over their probabilities")
    tables = [Table(titles[0], f"kind and settings | {columns}", kinds)]
    return [*tables, Table(titles[1], f"chain | {columns}", chains)]


def epochs(options: Options) -> list[Table]:
    """Train without augmentation and with each chain by turns."""
    rows, speeds = [], dict[str, list[float]]()
    size = options.steps[0]
    for number in range(min(options.rounds, 3)):
        for name, chain in {"none": [], **CHAINS}.items():
            folder = train(
                options, f"augmented{number}{len(speeds)}{name}".replace(" ", ""), size, options.clips, chain
            )
            lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
            speeds.setdefault(name, []).append([line for line in lines if "loss" in line][-1]["clips_per_second"])
    for name, found in speeds.items():
        times_as_long = [plain / one for plain, one in zip(speeds["none"], found, strict=True)]
        rows.append((name, statistics.median(found), *spread(times_as_long)))
    columns = "chain | clips/s:.4g | time (times that without):.3f | lowest:.3f | highest:.3f"
    return [Table(f"an epoch on noise from the decoded cache, batch {size}", columns, rows)]


def _cost(call: Any, waves: list[np.ndarray], rounds: int) -> tuple[float, float, float, float]:
    """Milliseconds a wave over the rounds: median, lowest, highest; and waves a second."""
    found = []
    for number in range(rounds):
        began = _processor_time()
        for index, wave in enumerate(waves):
            call(wave, np.random.default_rng([number, index]))
        found.append(1e3 * (_processor_time() - began) / len(waves))
    return *spread(found), 1e3 / max(statistics.median(found), 1e-6)


def _warm_up(chain: Chain, waves: list[np.ndarray]) -> None:
    """Compute the rooms, which a run does once."""
    for step in chain:
        for kind in step.one_of if isinstance(step, OneOf) else (step,):
            if kind_of(kind) == "reverberation":
                for seed in range(300):
                    apply(kind, waves[0][:1000], np.random.default_rng(seed))


def _processor_time() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
