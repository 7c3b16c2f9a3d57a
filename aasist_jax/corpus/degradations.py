"""Changes that a recording undergoes on its way, such as a telephone line, to measure what they do to scores.

Each takes a wave at 16 kHz of at least 0.1 s, float64 in about [-1, 1], and gives one of as many samples, aligned with
it; what is random is drawn from the generator.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.augmentation.sound.levels import speech_level
from aasist_jax.augmentation.sound.lossy import (
    MP3_KBPS,
    OPUS_KBPS,
    compression_level,
    encode_decode,
    encode_decode_narrow,
)
from aasist_jax.augmentation.sound.responses import decaying_response, reverberate
from aasist_jax.corpus.channel import add_noise

REVERBERATION = 0.5
"""RT60 of the room, in seconds."""

OPUS_12K: Mapping[str, Any] = {"compression_level": compression_level(12.0, OPUS_KBPS)}
MP3_64K: Mapping[str, Any] = {"compression_level": compression_level(64.0, MP3_KBPS), "bitrate_mode": "CONSTANT"}

Degradation = Callable[[Wave, np.random.Generator], OtherWave]


def telephone(wave: Wave, rng: np.random.Generator) -> OtherWave:
    """A landline: 8 kHz, 300-3400 Hz (as ITU-T G.712), mu-law of 64 kbit/s (ITU-T G.711, by libsndfile)."""
    return mu_law(wave, phone_band=True)


def mu_law(wave: Wave, *, phone_band: bool = False) -> OtherWave:
    """8 kHz, mu-law of 64 kbit/s (ITU-T G.711, by libsndfile), and back to 16 kHz.

    `phone_band` keeps 300-3400 Hz; without it, all that 8 kHz can carry is kept.
    """
    return encode_decode_narrow(wave, "ulaw", "AU", phone_band=phone_band)


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
    """A room of RT60 0.5 s: the direct sound, then Polack's decaying noise of the same energy; the level is kept."""
    return reverberate(wave, decaying_response(REVERBERATION, rng))


DEGRADATIONS: Mapping[str, Degradation] = {
    "telephone": telephone,
    "noise-10dB": noise_10db,
    "opus-12k": opus_12k,
    "mp3-64k": mp3_64k,
    "room": room,
}
"""All of them, by name."""
