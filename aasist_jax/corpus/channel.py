"""Gives both classes the same channel, so that only the synthesis differs between them, not the recording.

Every function takes and returns a wave at 16 kHz, float64 in about [-1, 1].
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import signal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.augmentation.sound.levels import SILENCE, active_level, fade, trim
from aasist_jax.augmentation.sound.lossy import encode_decode
from aasist_jax.augmentation.sound.noises import coloured_noise

CHANNELS = ("clean", "noise", "noise+vorbis", "noise+opus")

BAND = (60.0, 7000.0)
"""The pass band that both classes share, in Hz."""

LEVEL = -26.0
"""Active speech level of a finished clip, in dB below full scale."""

MEDIUM: Mapping[str, Any] = MappingProxyType({"compression_level": 0.5})
"""libsndfile's medium quality of Vorbis and Opus."""

_BAND_PASS = signal.butter(6, BAND, "bandpass", fs=SAMPLE_RATE, output="sos")
_FFT = 512
_TAPS = 257


def band_limit(wave: Wave) -> Wave:
    """Remove the mean (DC offset), then band-pass filter to 60-7000 Hz with zero phase."""
    return signal.sosfiltfilt(_BAND_PASS, wave - wave.mean())


def to_level(wave: Wave, level: float = LEVEL) -> Wave:
    """Scale to an active speech level, or to a lower one if the peak would exceed full scale."""
    gain = 10 ** ((level - active_level(wave)) / 20)
    return wave * min(gain, 0.99 / max(float(np.abs(wave).max()), 1e-9))


def join(pieces: Sequence[OtherWave], samples: int) -> OtherWave:
    """Trim, level, fade and concatenate utterances until there are `samples`, then cut to that length.

    The result is shorter if there are not enough utterances.
    """
    joined, there = [], 0
    for piece in pieces:
        joined.append(fade(to_level(trim(band_limit(piece)))))
        there += joined[-1].size
        if there >= samples:
            break
    return np.concatenate(joined)[:samples]


def long_term_spectrum(wave: Wave) -> Float[np.ndarray, "bins"]:
    """Power density of the speech frames at 257 frequencies, smoothed over a third of an octave."""
    frames = _frames(wave)
    power = np.mean(frames**2, axis=1)
    active = frames[power > np.percentile(power, 95) * 10 ** (SILENCE / 10)]
    return _smooth(_density(active))


def room_tone(wave: Wave, samples: int, rng: np.random.Generator) -> OtherWave:
    """Gaussian noise with the spectrum of the quietest tenth of a recording's frames, and the level of their median."""
    frames = _frames(wave)
    power = np.mean(frames**2, axis=1)
    quiet = frames[power <= np.percentile(power, 10)]
    noise = _shape(rng.standard_normal(samples), np.sqrt(_smooth(_density(quiet))))
    level = float(np.median(np.mean(quiet**2, axis=1)))
    return noise * np.sqrt(level / max(float(np.mean(noise**2)), 1e-30))


def take_on(wave: Wave, reference: OtherWave, rng: np.random.Generator, deepest: float = 12.5) -> Wave:
    """Give a wave the long-term spectrum, the level and the room tone of a reference.

    The filter is a linear-phase FIR; no frequency is raised by more than 12.5 dB or lowered by more than `deepest`.
    """
    wanted, there = long_term_spectrum(reference), long_term_spectrum(wave)
    gain = np.sqrt(wanted / there)
    inside = (frequencies() >= BAND[0]) & (frequencies() <= BAND[1])
    middle = np.exp(np.mean(np.log(gain[inside])))
    gain = np.clip(gain / middle, 10 ** (-deepest / 20), 10 ** (12.5 / 20))
    shaped = to_level(_shape(wave, gain), active_level(reference))
    return shaped + room_tone(reference, wave.size, rng)


def frequencies() -> Float[np.ndarray, "bins"]:
    """The frequencies of `long_term_spectrum`, in Hz."""
    return np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)


def pink_noise(samples: int, rng: np.random.Generator) -> OtherWave:
    """Noise whose power density falls as 1/f, within 60-7000 Hz; its level is arbitrary."""
    return band_limit(coloured_noise(samples, rng, 1.0))


def add_noise(wave: Wave, snr: float, rng: np.random.Generator, level: float | None = None) -> Wave:
    """Add pink noise, `snr` dB below `level` (in dB), which is the active speech level unless given."""
    noise = pink_noise(wave.size, rng)
    there = 10 * np.log10(np.mean(noise**2))
    speech = active_level(wave) if level is None else level
    return wave + noise * 10 ** ((speech - snr - there) / 20)


def pass_through(wave: Wave, channel: str, rng: np.random.Generator) -> Wave:
    """The last stage for both classes: noise and codec as given by `channel`, band limits, edges, level, dither.

    Args:
        wave: Speech, at least 20 ms.
        channel: One of `CHANNELS`; noise is 28 to 45 dB below the speech.
        rng: Random numbers for noise and dither.

    Returns:
        The same number of samples; rounding to 16 bits gives no runs of digital silence.
    """
    noise, _, codec = channel.partition("+")
    wave = to_level(band_limit(wave))
    if noise == "noise":
        wave = add_noise(wave, rng.uniform(28.0, 45.0), rng)
    if codec:
        wave = encode_decode(wave, codec, **MEDIUM)
    wave = to_level(fade(band_limit(wave)))
    dither = rng.uniform(-0.5, 0.5, wave.size) + rng.uniform(-0.5, 0.5, wave.size)
    dithered = np.asarray(wave - wave.mean() + dither / 32768)
    return np.clip(dithered, -1.0, 32767 / 32768)


def _frames(wave: Wave) -> Float[np.ndarray, "frames 512"]:
    padded = np.pad(wave, (0, max(_FFT - wave.size, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, _FFT)[:: _FFT // 2]


def _density(frames: Float[np.ndarray, "frames 512"]) -> Float[np.ndarray, "bins"]:
    return np.mean(np.abs(np.fft.rfft(frames * np.hanning(_FFT), axis=1)) ** 2, axis=0) + 1e-14


def _smooth(density: Float[np.ndarray, "bins"]) -> Float[np.ndarray, "bins"]:
    bins = np.arange(density.size)
    low = np.floor(bins / 2 ** (1 / 6)).astype(int)
    high = np.minimum(np.ceil(bins * 2 ** (1 / 6)).astype(int), density.size - 1) + 1
    total = np.concatenate([[0.0], np.cumsum(density)])
    return (total[high] - total[low]) / (high - low)


def _shape(wave: Wave, gain: Float[np.ndarray, "bins"]) -> Wave:
    taps = signal.firwin2(_TAPS, frequencies(), gain, fs=SAMPLE_RATE)
    return signal.oaconvolve(wave, taps, mode="same")
