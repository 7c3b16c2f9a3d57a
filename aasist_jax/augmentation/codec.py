"""Lossy codecs of telephony, messengers and music, in memory: encoded, decoded, as long as before and aligned."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import numpy as np

from aasist_jax.audio.ffmpeg_process import find_ffmpeg
from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, one
from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.augmentation.sound.aac import aac
from aasist_jax.augmentation.sound.lossy import (
    MP3_KBPS,
    OPUS_KBPS,
    compression_level,
    encode_decode,
    encode_decode_narrow,
    fit,
)
from aasist_jax.errors import AudioError

Codec = Literal["mulaw", "alaw", "gsm", "g722", "opus", "vorbis", "mp3", "aac"]

RATES: Mapping[str, tuple[float, ...]] = {
    "mulaw": (64.0,),
    "alaw": (64.0,),
    "gsm": (13.0,),
    "g722": (64.0,),
    "opus": (6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0),
    "vorbis": (24.0, 29.0, 37.0, 45.0, 56.0),
    "mp3": (16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0),
    "aac": (12.0, 16.0, 24.0, 32.0, 48.0, 64.0),
}
"""The rates in kbit/s that are drawn from. Those of Vorbis are what its qualities take of speech, about."""

VORBIS_LEVELS = dict(zip(RATES["vorbis"], (1.0, 0.8, 0.6, 0.4, 0.2), strict=True))
"""libsndfile's compression levels by rate."""


class CodecChange(Augmentation, frozen=True, kw_only=True, tag="codec"):
    """A codec and its rate, drawn. What the codec limits itself, such as the band of 4 kHz of G.711, comes with it.

    Attributes:
        codecs: those to draw from. G.711 (`mulaw`, `alaw`), GSM 06.10, Opus, Vorbis and MP3 are encoded by libsndfile,
            G.722 by the package of that name, AAC by the program `ffmpeg`, in a child process.
        kbps: rates to draw from: of those in `RATES` the ones within this range, in kbit/s.
    """

    codecs: tuple[Codec, ...] = ("mulaw", "alaw", "gsm", "g722", "opus", "vorbis", "mp3")
    kbps: Range = (6.0, 128.0)

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        check_range("kbps", self.kbps, 1, 512, "kbit/s")
        if not self.codecs:
            raise ValueError(f"codecs: expected some of {', '.join(RATES)}")
        for codec in self.codecs:
            if not self.rates(codec):
                known = ", ".join(f"{rate:g}" for rate in RATES[codec])
                raise ValueError(f"kbps: expected a range with a rate of {codec}, which has {known}")

    def rates(self, codec: str) -> tuple[float, ...]:
        """The rates of a codec that are drawn from."""
        return tuple(rate for rate in RATES[codec] if self.kbps[0] <= rate <= self.kbps[1])

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Encode and decode."""
        codec = one(rng, self.codecs)
        kbps = one(rng, self.rates(codec))
        # What is above full scale would be clipped by some codecs and not by others.
        gain = max(1.0, float(np.abs(wave).max()))
        return Changed(CODERS[codec](wave / gain, kbps) * gain, {"codec": codec, "kbps": kbps})

    def prepare(self) -> list[str]:
        """Check that the program and the package are there that some of the codecs need."""
        if "aac" in self.codecs:
            find_ffmpeg("augmentation 'codec': AAC")
            aac(np.zeros(1024), 32.0)
        if "g722" in self.codecs:
            g722(np.zeros(2), 64.0)
        return []

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Every codec at a low rate, and some at a high one."""
        low = [cls(codecs=(codec,), kbps=(RATES[codec][0], RATES[codec][0])) for codec in get_args(Codec)]
        return *low, cls(codecs=("opus",), kbps=(24.0, 24.0)), cls(codecs=("mp3",), kbps=(64.0, 64.0))


def mulaw(wave: Wave, kbps: float) -> OtherWave:
    """ITU-T G.711 mu-law at 8 kHz, the digital telephone of North America and Japan."""
    return encode_decode_narrow(wave, "ulaw", "AU")


def alaw(wave: Wave, kbps: float) -> OtherWave:
    """ITU-T G.711 A-law at 8 kHz, the digital telephone of Europe."""
    return encode_decode_narrow(wave, "alaw", "AU")


def gsm(wave: Wave, kbps: float) -> OtherWave:
    """GSM 06.10 full rate at 8 kHz, the first digital mobile telephone."""
    return encode_decode_narrow(wave, "gsm610", "WAV")


def g722(wave: Wave, kbps: float) -> OtherWave:
    """ITU-T G.722 at 16 kHz, the wide-band telephone over the Internet.

    Raises:
        AudioError: the package is not installed.
    """
    try:
        import G722
    except ImportError:
        raise AudioError(
            "augmentation 'codec': G.722 needs the package G722; run `pip install 'aasist-jax[augmentation]'`, or "
            'leave "g722" out of "codecs"'
        ) from None
    bits_per_second = 64_000
    # The quadrature mirror filters of both sides delay by 22 samples; samples are encoded in pairs.
    padded = np.pad(wave, (0, _G722_DELAY + wave.size % 2))
    encoded = G722.G722(SAMPLE_RATE, bits_per_second).encode(np.rint(padded * 32767).astype(np.int16))
    decoded = np.asarray(G722.G722(SAMPLE_RATE, bits_per_second).decode(encoded), np.float64) / 32768
    return fit(decoded[_G722_DELAY:], wave.size)


_G722_DELAY = 22


def opus(wave: Wave, kbps: float) -> OtherWave:
    """Opus (RFC 6716), of messengers and browsers."""
    return encode_decode(wave, "opus", compression_level=compression_level(kbps, OPUS_KBPS))


def vorbis(wave: Wave, kbps: float) -> OtherWave:
    """Vorbis, of games and music services."""
    return encode_decode(wave, "vorbis", compression_level=VORBIS_LEVELS[kbps])


def mp3(wave: Wave, kbps: float) -> OtherWave:
    """MP3 (MPEG-2 layer III), by LAME at a constant rate."""
    options: dict[str, Any] = {"compression_level": compression_level(kbps, MP3_KBPS), "bitrate_mode": "CONSTANT"}
    return encode_decode(wave, "mpeg_layer_iii", "MP3", **options)


CODERS: Mapping[str, Callable[[Wave, float], OtherWave]] = {
    "mulaw": mulaw,
    "alaw": alaw,
    "gsm": gsm,
    "g722": g722,
    "opus": opus,
    "vorbis": vorbis,
    "mp3": mp3,
    "aac": aac,
}

AUGMENTATION = CodecChange
