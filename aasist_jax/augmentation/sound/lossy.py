"""Lossy codecs in memory, by libsndfile; a wave comes back as long as it was, and aligned."""

import functools
import io
from typing import Any

import numpy as np
import soundfile
import soxr
from scipy import signal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation.sound import OtherWave, Wave

PHONE_RATE = 8_000
PHONE_BAND = 300.0, 3400.0

OPUS_KBPS = 6.0, 256.0
MP3_KBPS = 8.0, 160.0
"""The ranges of libsndfile's compression levels at 16 kHz; the rate falls linearly from the upper at 0."""

LONGEST_DELAY = 4096
"""Samples up to which a codec's delay is looked for."""

_PHONE_FILTER = signal.butter(4, PHONE_BAND, "bandpass", fs=PHONE_RATE, output="sos")


def compression_level(kbps: float, limits: tuple[float, float]) -> float:
    """The level at which libsndfile encodes at a rate in kbit/s; `limits` is `OPUS_KBPS` or `MP3_KBPS`."""
    return (limits[1] - kbps) / (limits[1] - limits[0])


def encode(wave: Wave, codec: str, file_format: str = "OGG", rate: int = SAMPLE_RATE, **options: Any) -> bytes:
    """A file with the wave in a lossy codec of libsndfile.

    Args:
        wave: at `rate`.
        codec: libsndfile's name of the subtype, such as "opus".
        file_format: libsndfile's name of the format that holds it.
        rate: samples per second.
        options: `compression_level` and `bitrate_mode` of `soundfile.SoundFile`, where the format has them.
    """
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, format=file_format, subtype=codec.upper(), **options) as encoder:
        # By the second: libvorbis puts all that it is given at once on the stack.
        for start in range(0, wave.size, rate):
            encoder.write(wave[start : start + rate])
    return file.getvalue()


def encode_decode(wave: Wave, codec: str, file_format: str = "OGG", rate: int = SAMPLE_RATE, **options: Any) -> Wave:
    """Encode as `encode` does, and decode to the same length; what the codec delays is moved back."""
    delay = mp3_delay(rate, **options) if file_format == "MP3" else 0
    decoded = _decode(encode(np.pad(wave, (0, delay)), codec, file_format, rate, **options))
    return fit(decoded[delay:], wave.size)


@functools.cache
def mp3_delay(rate: int, **options: Any) -> int:
    """Samples by which MP3 comes back late: 0, or 1105, LAME's 576 and the decoder's 529.

    LAME notes its delay in a frame of its own at the start of the file, and the decoder then takes all of it away. At
    the lowest bit rates a frame is too short to hold the note. The delay is measured, with noise and once in a process,
    since which rates these are depends on the sampling rate and on the versions of the libraries.
    """
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * LONGEST_DELAY)
    decoded = _decode(encode(noise, "mpeg_layer_iii", "MP3", rate, **options))
    alike = signal.correlate(decoded, noise, "full", method="fft")[noise.size - 1 :][:LONGEST_DELAY]
    return int(alike.argmax())


def _decode(file: bytes) -> OtherWave:
    decoded, _ = soundfile.read(io.BytesIO(file), dtype="float64")
    return np.asarray(decoded, np.float64)


def encode_decode_narrow(wave: Wave, codec: str, file_format: str, *, phone_band: bool = False) -> OtherWave:
    """Down to 8 kHz, through a codec of telephony, and back to 16 kHz.

    `phone_band` keeps 300-3400 Hz (as ITU-T G.712); without it, all that 8 kHz can carry is kept.
    """
    narrow = soxr.resample(wave, SAMPLE_RATE, PHONE_RATE)
    narrow = signal.sosfiltfilt(_PHONE_FILTER, narrow) if phone_band else narrow
    return fit(soxr.resample(encode_decode(narrow, codec, file_format, PHONE_RATE), PHONE_RATE, SAMPLE_RATE), wave.size)


def fit(wave: OtherWave, samples: int) -> OtherWave:
    """Cut a wave to a length, or fill it up with zeros."""
    return np.pad(wave, (0, max(samples - wave.size, 0)))[:samples]
