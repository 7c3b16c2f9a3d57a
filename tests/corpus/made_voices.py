"""Voices that need no corpus: bursts of noise over a floor, which differ from clip to clip."""

import numpy as np
from scipy import signal

from aasist_jax.corpus.voices import Source, Spoken, Voice
from tests.conftest import CORPUS

RATE = 16_000


def speech_like(seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    carrier = signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(time.size))
    envelope = np.clip(np.sin(2 * np.pi * 4 * time), 0, None)
    return 0.03 * envelope * carrier + 3e-4 * rng.standard_normal(time.size)


def voice(speaker: str, attack: str = "-", clips: int = 5, language: str = "en") -> Voice:
    label = "bonafide" if attack == "-" else "spoof"
    base = sum(map(ord, speaker + attack))
    return tuple(
        Spoken(
            Source(f"{speaker}_{attack}_{number}", CORPUS / "none.flac", label, attack, speaker, language),
            speech_like(2.5 + 0.1 * number, base + number),
        )
        for number in range(clips)
    )
