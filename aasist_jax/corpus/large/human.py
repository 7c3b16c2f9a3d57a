"""The human clips of the large corpus, before anything is done to them."""

from pathlib import Path

import numpy as np

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation.sound import OtherWave
from aasist_jax.augmentation.sound.levels import active_level
from aasist_jax.corpus.channel import join
from aasist_jax.corpus.large.plan import LargeClip
from aasist_jax.corpus.speech import load_recording
from aasist_jax.errors import DataError


def human_wave(root: Path, clip: LargeClip) -> OtherWave:
    """The recordings of a human clip joined; `root` is of the unpacked packages.

    Raises:
        DataError: there is nothing to hear.
        AudioError: a recording cannot be decoded.
    """
    pieces = [load_recording(root / path).astype(np.float64) for path in clip.material]
    wave = join(pieces, round(clip.seconds * SAMPLE_RATE))
    if not np.all(np.isfinite(wave)) or active_level(wave) < -100:
        raise DataError(f"{clip.material[0]}: there is nothing to hear; remove the unpacked packages and build again")
    return wave
