"""Waves to augment: speech-like, and such as break things."""

import numpy as np

from aasist_jax.augmentation import Augmentation, find_kind, kind_names
from tests.corpus.made_voices import speech_like

SPEECH = speech_like(4.0, 0).astype(np.float32)
OTHERS = [speech_like(1.5, 1).astype(np.float32), speech_like(0.3, 2).astype(np.float32)]

CONTENTS = ("noise", "silence", "dc", "impulse", "loud", "quiet", "tone")


def made(content: str, samples: int, seed: int = 0) -> np.ndarray:
    """A wave of one of `CONTENTS`."""
    rng = np.random.default_rng(seed)
    wave = 0.1 * rng.standard_normal(samples)
    if content == "silence":
        wave[:] = 0
    elif content == "dc":
        wave[:] = 0.3
    elif content == "impulse":
        wave[:] = 0
        wave[rng.integers(samples)] = 1
    elif content == "tone":
        wave = np.sin(2 * np.pi * 1000 * np.arange(samples) / 16_000)
    return (wave * {"loud": 40, "quiet": 1e-6}.get(content, 1)).astype(np.float32)


def all_examples() -> list[Augmentation]:
    """What every kind shows of itself."""
    return [example for name in kind_names() for example in find_kind(name).examples()]
