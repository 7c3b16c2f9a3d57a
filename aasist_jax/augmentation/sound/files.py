"""Sounds from a folder of one's own: noise, impulse responses."""

import functools
from pathlib import Path

import numpy as np

from aasist_jax.audio.load import inspect_audio, load_audio
from aasist_jax.augmentation.sound import OtherWave
from aasist_jax.errors import AudioError

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
KEPT = 32
"""Decoded files that a process keeps, since decoding one takes longer than all else."""


@functools.cache
def sound_files(folder: str) -> tuple[Path, ...]:
    """The audio files in a folder and those below it, in the order of their names; listed once in a process.

    Raises:
        AudioError: there are none.
    """
    root = Path(folder)
    found = tuple(sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()))
    if not found:
        raise AudioError(f"{folder}: holds no audio files ({', '.join(SUFFIXES)}); name another folder")
    return found


def check_sound_files(folder: str) -> list[str]:
    """Read the header of every file.

    Returns:
        A line for each, with its path within the folder and its size.

    Raises:
        AudioError: there are none, or one is not audio.
    """
    lines = []
    for path in sound_files(folder):
        inspect_audio(path)
        lines.append(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}")
    return lines


@functools.lru_cache(KEPT)
def load_sound(path: Path) -> OtherWave:
    """A file as float64 at 16 kHz; it must not be written to.

    Raises:
        AudioError: it cannot be decoded.
    """
    wave = load_audio(path).astype(np.float64)
    wave.flags.writeable = False
    return wave


def looped(wave: OtherWave, start: int, samples: int) -> OtherWave:
    """`samples` samples from a start, from the beginning again where the wave ends."""
    return np.take(wave, np.arange(start, start + samples), mode="wrap")
