"""What the detector of speech keeps and drops, beside a gate that looks at levels only."""

import time
from collections.abc import Callable

import numpy as np

from aasist_jax.audio.facts import SignalMeter
from aasist_jax.audio.load import load_audio
from aasist_jax.audio.speech import LEAST_SPEECH, SpeechActivity
from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from benchmarks.inputs import corpus_of, recording
from benchmarks.options import Options
from benchmarks.rounds import Table
from benchmarks.sounds import music, noise, telephoned, tones, with_pink_noise

WINDOW = 64_600
SECONDS = 30.0
HOUR = 3600.0
TIMED = 600.0

GATE_BLOCK, GATE_HISTORY, GATE_SHARE = 243, 658, 0.15
"""Samples of a block of the gate, blocks that its floor is taken from (10 s), share of blocks that it asks for."""

CHANNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda wave: wave,
    "pink noise 10 dB": lambda wave: with_pink_noise(wave, 10),
    "0 dB": lambda wave: with_pink_noise(wave, 0),
    "telephone": telephoned,
    "telephone, noise 10 dB": lambda wave: telephoned(with_pink_noise(wave, 10)),
    "40 dB quieter": lambda wave: wave * np.float32(0.01),
}


def speech(options: Options) -> list[Table]:
    """Windows of 64,600 samples, one every half window; a recording that is shorter is one window."""
    return [_kept(options), _dropped(options), _time(options)]


def _kept(options: Options) -> Table:
    rows = []
    for split in ("dev", "eval"):
        clips = read_asvspoof2019_la(corpus_of(options), split)
        for label in ("bonafide", "spoof"):
            waves = [load_audio(clip.path) for clip in clips if clip.label == label]
            found = [[_windows(change(wave)) for wave in waves] for change in CHANNELS.values()]
            shares = [np.concatenate(windows).mean(axis=0) for windows in found]
            count = sum(len(windows) for windows in found[0])
            rows += [(f"{split}, {label}", name, count, *(share[i] for share in shares)) for i, name in enumerate(BOTH)]
    columns = " | ".join(f"{name}:.2%" for name in CHANNELS)
    return Table("Windows of speech that are kept", f"clips | by | windows | {columns}", rows)


def _dropped(options: Options) -> Table:
    groups = {
        "noise: white, pink, brown at -20 and -50 dBFS": [
            noise(SECONDS, level, slope) for level in (-20, -50) for slope in (0, 1, 2)
        ],
        "music made by code": music(SECONDS),
        "tones, hum, clicks, silence": [*tones(SECONDS), np.zeros(WINDOW, np.float32)],
    }
    for folder in sorted(options.path("sounds").iterdir()) if options.sounds else []:
        groups[folder.name] = [load_audio(file) for file in sorted(folder.iterdir())]
    rows = []
    for name, waves in groups.items():
        near, far = (
            np.concatenate([_windows(change(wave)) for wave in waves]) for change in (CHANNELS["as it is"], telephoned)
        )
        rows.append((name, len(near), *(1 - near.mean(axis=0)), *(1 - far.mean(axis=0))))
    columns = " | ".join(f"{by}{over}:.2%" for over in ("", ", telephone") for by in BOTH)
    return Table("Windows without speech that are dropped", f"sounds | windows | {columns}", rows)


BOTH = ("detector", "levels")


def _windows(wave: np.ndarray) -> np.ndarray:
    """Whether the detector and the gate keep each window, (windows, 2)."""
    activity = SpeechActivity()
    activity.push(wave)
    blocks = wave[: wave.size // GATE_BLOCK * GATE_BLOCK].reshape(-1, GATE_BLOCK)
    decibels = 10 * np.log10(blocks.var(axis=1, dtype=np.float64) + 1e-10)
    found = []
    for start in range(0, max(wave.size - WINDOW, 0) + 1, WINDOW // 2):
        end = min(start + WINDOW, wave.size)
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
    wave = recording(options, TIMED)
    activity, meter = SpeechActivity(), SignalMeter()
    takers = {"detector of speech": activity.push, "signal facts": meter.push}
    rows = []
    for name, push in takers.items():
        begun = time.process_time()
        for start in range(0, wave.size, 1 << 18):
            push(wave[start : start + (1 << 18)])
        rows.append((name, 1000 * (time.process_time() - begun) * HOUR / TIMED))
    return Table("Processor time for an hour of audio", "what | ms:.0f", rows)
