"""AAC, which libsndfile has not: encoded by the program `ffmpeg` in a child process, decoded as any recording."""

import io
from contextlib import closing

import numpy as np

from aasist_jax.audio.ffmpeg import descriptor
from aasist_jax.audio.ffmpeg_process import CHILD_LIMITS, FfmpegProcess, find_ffmpeg, reason
from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import load_audio
from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.augmentation.sound.lossy import fit
from aasist_jax.errors import AudioError

PRIMING = 1024
"""Samples that FFmpeg's encoder puts before the first one; bare AAC does not say so."""

_LEAST = 2048
"""Samples that are encoded at the least, since the encoder gives no frame for fewer."""


def aac(wave: Wave, kbps: float) -> OtherWave:
    """AAC-LC at a rate in kbit/s, encoded and decoded.

    Raises:
        AudioError: there is no ffmpeg, or it cannot encode AAC.
    """
    padded = fit(wave, max(wave.size, _LEAST)).astype("<f4")
    return fit(load_audio(io.BytesIO(_encode(padded.tobytes(), kbps))).astype(np.float64)[PRIMING:], wave.size)


def _encode(samples: bytes, kbps: float) -> bytes:
    with (
        descriptor(io.BytesIO(samples)) as source,
        closing(FfmpegProcess(find_ffmpeg("AAC"), _arguments(source, kbps), source, "AAC", CHILD_LIMITS)) as child,
    ):
        encoded = bytearray()
        while piece := child.read(1 << 16):
            encoded += piece
        status, said = child.finish()
    if status or not encoded:
        raise AudioError(f"augmentation 'codec': this ffmpeg cannot encode AAC ({reason(said)}); install another one")
    return bytes(encoded)


def _arguments(source: int, kbps: float) -> list[str]:
    return [
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+error", "-protocol_whitelist", "file,pipe"),
        *("-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", f"file:/dev/fd/{source}"),
        # One thread and no names of versions: the same bytes every time.
        *("-threads", "1", "-flags", "+bitexact", "-fflags", "+bitexact"),
        *("-c:a", "aac", "-b:a", f"{round(kbps * 1000)}", "-f", "adts", "pipe:1"),
    ]
