"""Changes that a recording undergoes on its way, such as a telephone line, to measure what they do to scores.

Each takes a wave at 16 kHz of at least 0.1 s, float64 in about [-1, 1], and gives one of as many samples, aligned with
it; what is random is drawn from the generator.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import soxr
from scipy import signal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.corpus.channel import OtherWave, Wave, add_noise, encode_decode, frame_levels

PHONE_RATE = 8_000
PHONE_BAND = 300.0, 3400.0
REVERBERATION = 0.5
"""RT60 of the room, in seconds."""

# libsndfile's compression levels: linear, for Opus from 256 kbit/s at 0 to 6 at 1, for MP3 at this rate from 160 to 8.
OPUS_12K: Mapping[str, Any] = {"compression_level": 0.976}
MP3_64K: Mapping[str, Any] = {"compression_level": 12 / 19, "bitrate_mode": "CONSTANT"}

_PHONE_FILTER = signal.butter(4, PHONE_BAND, "bandpass", fs=PHONE_RATE, output="sos")
_MARGIN = 10**-1.59
_FIRST_REFLECTION = SAMPLE_RATE * 3 // 1000

Degradation = Callable[[Wave, np.random.Generator], OtherWave]


def telephone(wave: Wave, rng: np.random.Generator) -> OtherWave:
    """A landline: 8 kHz, 300-3400 Hz (as ITU-T G.712), mu-law of 64 kbit/s (ITU-T G.711, by libsndfile)."""
    return mu_law(wave, phone_band=True)


def mu_law(wave: Wave, *, phone_band: bool = False) -> OtherWave:
    """8 kHz, mu-law of 64 kbit/s (ITU-T G.711, by libsndfile), and back to 16 kHz.

    `phone_band` keeps 300-3400 Hz; without it, all that 8 kHz can carry is kept.
    """
    narrow = soxr.resample(wave, SAMPLE_RATE, PHONE_RATE)
    narrow = signal.sosfiltfilt(_PHONE_FILTER, narrow) if phone_band else narrow
    back = soxr.resample(encode_decode(narrow, "ulaw", "AU", PHONE_RATE), PHONE_RATE, SAMPLE_RATE)
    return np.pad(back, (0, max(wave.size - back.size, 0)))[: wave.size]


def noise_10db(wave: Wave, rng: np.random.Generator) -> OtherWave:
    """Pink noise 10 dB below `speech_level`, 60-7000 Hz."""
    return add_noise(wave, 10.0, rng, speech_level(wave))


def opus_12k(wave: Wave, rng: np.random.Generator) -> OtherWave:
    """Opus (RFC 6716) at 12 kbit/s, as a messenger sends; by libsndfile."""
    return encode_decode(wave, "opus", **OPUS_12K)


def mp3_64k(wave: Wave, rng: np.random.Generator) -> OtherWave:
    """MP3 (MPEG-2 layer III) of constant 64 kbit/s; LAME by libsndfile."""
    return encode_decode(wave, "mpeg_layer_iii", "MP3", **MP3_64K)


def room(wave: Wave, rng: np.random.Generator) -> OtherWave:
    """A room of RT60 0.5 s: the direct sound, then Polack's decaying Gaussian noise of the same energy; same level."""
    reverberant = signal.oaconvolve(wave, room_response(rng))[: wave.size]
    return reverberant * 10 ** ((speech_level(wave) - speech_level(reverberant)) / 20)


def room_response(rng: np.random.Generator) -> OtherWave:
    """A room impulse response: 1 at 0, from 3 ms on Gaussian noise whose power falls by 60 dB in RT60 (Polack, 1988).

    The energies of the direct sound and of the tail are equal (0 dB), as at the critical distance of a room.
    """
    time = np.arange(round(REVERBERATION * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(time.size) * 10 ** (-3 * time / REVERBERATION)
    response[:_FIRST_REFLECTION] = 0.0
    response /= np.sqrt(np.sum(response**2))
    response[0] = 1.0
    return response


def speech_level(wave: Wave) -> float:
    """The level of the 20 ms frames that are at most 15.9 dB below that very level, in dB; after ITU-T P.56.

    Unlike `channel.active_level`, it leaves out the pauses of noisy recordings, as long as a tenth or more is speech.
    """
    powers = 10 ** (frame_levels(wave) / 10)
    level = 0.0
    # Each round leaves out more of the quiet frames, until none is left to leave out.
    while (higher := float(np.mean(powers[powers >= level * _MARGIN]))) > level:
        level = higher
    return 10 * np.log10(level)


DEGRADATIONS: Mapping[str, Degradation] = {
    "telephone": telephone,
    "noise-10dB": noise_10db,
    "opus-12k": opus_12k,
    "mp3-64k": mp3_64k,
    "room": room,
}
"""All of them, by name."""
