"""Human speech from a data set or a folder, for a vocoder to be trained on."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.load import load_audio
from aasist_jax.augmentation.sound.files import sound_files
from aasist_jax.data.layouts import all_layouts, layout_of

_SPLIT = "train"


def read_speech(path: Path) -> list[Float32[np.ndarray, "_samples"]]:
    """The bona fide clips of the split `train` of a data set, or all recordings of a folder that is none.

    All of them are in memory at once, 64 kB a second.

    Args:
        path: what a layout of `data.layouts` reads, or a folder of audio files, which must be of humans.

    Returns:
        Waves at 16 kHz.

    Raises:
        DataError: several layouts can read it, the one that does finds faults, or there is no split `train`.
        AudioError: there are no audio files, or one cannot be decoded.
    """
    if not any(layout.splits(path, "LA") for layout in all_layouts().values()):
        return [load_audio(file) for file in sound_files(str(path))]
    clips = layout_of(path).read(path, _SPLIT, "LA")
    return [load_audio(clip.path) for clip in clips if clip.label == "bonafide"]
