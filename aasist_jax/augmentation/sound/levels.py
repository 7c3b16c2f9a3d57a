"""Levels of speech and of frames, and what goes by them: trimming, and fades."""

import numpy as np
from jaxtyping import Float

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation.sound import OtherWave, Wave

FRAME = SAMPLE_RATE // 50
"""Samples of a frame whose level is taken: 20 ms."""

SILENCE = -35.0
"""What is silence, in dB below the loud frames."""

_MARGIN = 4  # frames of silence kept on either side of speech
_FADE = SAMPLE_RATE // 100
_SPEECH = 10**-1.59


def frame_levels(wave: Wave) -> Float[np.ndarray, "frames"]:
    """The level of each whole 20 ms frame in dB (full scale is 0, digital silence -200)."""
    frames = wave[: wave.size // FRAME * FRAME].reshape(-1, FRAME)
    return 10 * np.log10(np.mean(frames**2, axis=1) + 1e-20)


def active_level(wave: Wave) -> float:
    """Level of the frames that hold speech, in dB: those within 35 dB of the loud ones (95th percentile)."""
    levels = frame_levels(wave)
    active = levels[levels > np.percentile(levels, 95) + SILENCE]
    return float(10 * np.log10(np.mean(10 ** (active / 10)))) if active.size else -200.0


def speech_level(wave: Wave) -> float:
    """The level of the 20 ms frames that are at most 15.9 dB below that very level, in dB; after ITU-T P.56.

    Unlike `active_level`, it leaves out the pauses of noisy recordings, as long as a tenth or more is speech.
    """
    powers = 10 ** (frame_levels(wave) / 10)
    level = 0.0
    # Each round leaves out more of the quiet frames, until none is left to leave out.
    while (higher := float(np.mean(powers[powers >= level * _SPEECH]))) > level:
        level = higher
    return 10 * np.log10(level)


def level_of(wave: Wave) -> float:
    """`speech_level`, or that of all samples where they make no whole frame; -200 or below for digital silence."""
    if wave.size >= FRAME:
        return speech_level(wave)
    return float(10 * np.log10(np.mean(wave**2) + 1e-20))


def trim(wave: Wave) -> OtherWave:
    """Trim silence at both ends to at most 80 ms; a wave without speech is returned unchanged."""
    levels = frame_levels(wave)
    if not levels.size:
        return wave
    (loud,) = np.nonzero(levels > np.percentile(levels, 95) + SILENCE)
    if not loud.size:
        return wave
    return wave[max(loud[0] - _MARGIN, 0) * FRAME : (loud[-1] + 1 + _MARGIN) * FRAME]


def fade(wave: Wave) -> Wave:
    """Fade in and out over 10 ms (raised cosine)."""
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_FADE) + 0.5) / _FADE)
    faded = wave.copy()
    faded[:_FADE] *= ramp[: wave.size]
    faded[-_FADE:] *= ramp[::-1][-wave.size :]
    return faded
