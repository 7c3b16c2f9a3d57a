"""What the detector of speech keeps and drops, beside a gate that looks at levels only.

The thresholds of the detector were chosen on the eval clips of the corpus that docs/audio.md shows: the rows of eval,
and of the sounds, are no independent test.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from aasist_jax.audio.facts import SignalMeter
from aasist_jax.audio.load import load_audio
from aasist_jax.audio.speech import LEAST_SPEECH, SpeechActivity
from aasist_jax.augmentation.sound.levels import speech_level
from aasist_jax.corpus.channel import add_noise
from aasist_jax.corpus.degradations import noise_10db, telephone
from aasist_jax.corpus.non_speech import NON_SPEECH, noise_at
from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from benchmarks.inputs import RATE, corpus_of, recording
from benchmarks.options import Options
from benchmarks.rounds import Table, timed

WINDOW = 64_600
SECONDS, TIMED, SEEDS = 30, 600.0, 2
"""Seconds of a sound and of the recording that is timed; how often a sound is drawn."""

GATE_BLOCK, GATE_HISTORY, GATE_SHARE = 243, 658, 0.15
"""Samples of a block of the gate, blocks that its floor is taken from (10 s), share of blocks that it asks for."""

CHANNELS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "as it is": lambda wave, rng: wave,
    "pink noise 10 dB": noise_10db,
    "0 dB": lambda wave, rng: add_noise(wave, 0.0, rng, speech_level(wave)),
    "telephone": telephone,
    "telephone, noise 10 dB": lambda wave, rng: telephone(noise_10db(wave, rng), rng),
    "40 dB quieter": lambda wave, rng: 0.01 * wave,
}
BOTH = ("detector", "levels")


def speech(options: Options) -> list[Table]:
    """Windows of 64,600 samples, one every half window; a recording that is shorter is one window."""
    return [_kept(options), _dropped(options), _time(options)]


def _kept(options: Options) -> Table:
    rows: list[tuple[Any, ...]] = []
    for split in ("dev", "eval"):
        clips = read_asvspoof2019_la(corpus_of(options), split)
        for label in ("bonafide", "spoof"):
            waves = [load_audio(clip.path) for clip in clips if clip.label == label]
            kept = np.stack([_windows(waves, channel) for channel in CHANNELS], axis=1)
            shares = zip(BOTH, kept.mean(axis=0).T, strict=True)
            rows += [(f"{split}, {label}", by, len(kept), *share) for by, share in shares]
    columns = " | ".join(f"{name}:.2%" for name in CHANNELS)
    return Table("Windows of speech that are kept", f"clips | by | windows | {columns}", rows)


def _dropped(options: Options) -> Table:
    size, rngs = SECONDS * RATE, [np.random.default_rng(seed) for seed in range(SEEDS)]
    kinds = [(level, slope) for level in (-20.0, -50.0) for slope in (0.0, 1.0, 2.0)]
    noises = [noise_at(size, rng, *kind) for rng in rngs for kind in kinds]
    groups = {"noise: white, pink, brown at -20 and -50 dBFS": noises}
    groups |= {name: [make(size, rng) for rng in rngs] for name, make in NON_SPEECH.items()}
    for folder in sorted(options.path("sounds").iterdir()) if options.sounds else []:
        groups[folder.name] = [load_audio(file) for file in sorted(folder.iterdir())]
    rows = []
    for name, waves in groups.items():
        near, far = (_windows(waves, channel) for channel in ("as it is", "telephone"))
        rows.append((name, len(near), *(1 - near.mean(axis=0)), *(1 - far.mean(axis=0))))
    columns = " | ".join(f"{by}{over}:.2%" for over in ("", ", telephone") for by in BOTH)
    return Table("Windows without speech that are dropped", f"sounds | windows | {columns}", rows)


def _windows(waves: list[np.ndarray], channel: str) -> np.ndarray:
    """Whether the detector and the gate keep each window of recordings on a channel, (windows, 2)."""
    found = []
    for number, wave in enumerate(waves):
        heard = CHANNELS[channel](wave.astype(np.float64), np.random.default_rng(number)).astype(np.float32)
        activity = SpeechActivity()
        activity.push(heard)
        blocks = heard[: heard.size // GATE_BLOCK * GATE_BLOCK].reshape(-1, GATE_BLOCK)
        decibels = 10 * np.log10(blocks.var(axis=1, dtype=np.float64) + 1e-10)
        for start in range(0, max(heard.size - WINDOW, 0) + 1, WINDOW // 2):
            end = min(start + WINDOW, heard.size)
            is_speech = activity.window(start, end).speech >= LEAST_SPEECH
            found.append((is_speech, _gate(decibels, -(-start // GATE_BLOCK), end // GATE_BLOCK) >= GATE_SHARE))
    return np.array(found)


def _gate(decibels: np.ndarray, first: int, stop: int) -> float:
    """The share of blocks that lie 9 dB above the noise, the tenth percentile of the last ten seconds."""
    history = decibels[max(stop - GATE_HISTORY, 0) : stop]
    heard = history[history > -90]
    floor = min(float(np.percentile(heard, 10)), -35.0) if heard.size else -35.0
    return float((decibels[first:stop] > max(floor + 9, -60)).mean())


def _time(options: Options) -> Table:
    wave, rows = recording(options, TIMED), []
    for name, push in (("detector of speech", SpeechActivity().push), ("signal facts", SignalMeter().push)):
        blocks = [wave[start : start + (1 << 18)] for start in range(0, wave.size, 1 << 18)]
        _, seconds = timed(partial(list, map(push, blocks)), time.process_time)
        rows.append((name, 1000 * seconds * 3600 / TIMED))
    return Table("Processor time for an hour of audio", "what | ms:.0f", rows)
