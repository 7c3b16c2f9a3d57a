"""Media: what the human recordings have been through before they were packed, given to all clips made from them too.

A copy of a recording, and synthetic speech beside it, then have the same band and the same traces of coding.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import soxr

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.augmentation.sound.lossy import encode_decode

MEDIA: Mapping[str, tuple[int, str]] = {
    "wide": (SAMPLE_RATE, ""),
    "11k": (11_025, ""),
    "8k": (8_000, ""),
    "mp3-11k": (11_025, "mp3"),
    "8bit-11k": (11_025, "8bit"),
    "gsm-8k": (8_000, "gsm"),
}
"""The samples per second of each, and the coding."""

# LAME's lowest constant rate at 11,025 Hz is 8 kbit/s, the highest 64: this is 16, as the game has it.
_MP3_16K: Mapping[str, Any] = {"compression_level": 48 / 56, "bitrate_mode": "CONSTANT"}
_PEAK_8BIT = 0.8


def through(wave: Wave, medium: str) -> OtherWave:
    """A wave at 16 kHz after the medium: resampled to its rate, coded, and back; as many samples."""
    rate, coding = MEDIA[medium]
    if rate == SAMPLE_RATE:
        return wave
    there = soxr.resample(wave, SAMPLE_RATE, rate)
    peak = max(float(np.abs(there).max(initial=0.0)), 1e-9)
    if coding == "mp3":
        there = encode_decode(there * (0.9 / peak), "mpeg_layer_iii", "MP3", rate, **_MP3_16K) * (peak / 0.9)
    elif coding == "8bit":
        step = peak / _PEAK_8BIT / 128
        there = np.round(there / step) * step
    elif coding == "gsm":
        there = encode_decode(there * (0.9 / peak), "gsm610", "WAV", rate) * (peak / 0.9)
    back = soxr.resample(there, rate, SAMPLE_RATE)
    return np.pad(back, (0, max(wave.size - back.size, 0)))[: wave.size]
