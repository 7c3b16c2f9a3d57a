"""Human speech from a data set or a folder, for a vocoder to be trained on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.load import load_audio
from aasist_jax.augmentation.sound.files import sound_files
from aasist_jax.data.layouts import all_layouts, layout_of
from aasist_jax.data.layouts.csv_table import read_csv

_SPLIT = "train"
_OF_DATA_SETS = ("*_cm_protocols", "flac", "corpus.json")
"""What lies in a data set with synthetic speech, even if it is of another track, in parts, or not yet complete."""


class HumanSpeech(NamedTuple):
    """Waves at 16 kHz, and in a few words what they are."""

    waves: list[Float32[np.ndarray, "_samples"]]
    described: str


def read_speech(path: Path) -> HumanSpeech:
    """The bona fide clips of the split `train` of a data set, or all recordings of a folder that is none.

    All of them are in memory at once, 64 kB a second.

    Args:
        path: what a layout of `data.layouts` reads, or a folder of audio files, which must be of humans.

    Raises:
        DataError: a folder holds parts of a data set that no layout can read, several layouts can read it, the one that
            does finds faults, or there is no split `train`.
        AudioError: there are no audio files, or one cannot be decoded.
    """
    if path.is_dir() and not _holds_data_set(path):
        files = sound_files(str(path))
        return HumanSpeech([load_audio(file) for file in files], f"{len(files):,} recordings of {path}, taken as human")
    clips = layout_of(path).read(path, _SPLIT, "LA") if path.is_dir() else read_csv(path, _SPLIT)
    human = [clip.path for clip in clips if clip.label == "bonafide"]
    return HumanSpeech([load_audio(file) for file in human], f"{len(human):,} bona fide clips of {_SPLIT} of {path}")


def _holds_data_set(folder: Path) -> bool:
    if any(layout.splits(folder, "LA") for layout in all_layouts().values()):
        return True
    # A folder `flac` that is given itself is the clips of a split, synthetic ones among them.
    return folder.resolve().name == "flac" or any(any(folder.rglob(name)) for name in _OF_DATA_SETS)
