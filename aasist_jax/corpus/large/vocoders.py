"""The vocoders of a large corpus: those trained on its own human clips, or taken from elsewhere."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aasist_jax.augmentation.sound import OtherWave
from aasist_jax.corpus.large.human import human_wave
from aasist_jax.corpus.large.plan import Group
from aasist_jax.corpus.large.systems import System
from aasist_jax.corpus.neural_vocoders.kinds import KINDS
from aasist_jax.corpus.neural_vocoders.trained import (
    CONFIG,
    MODEL,
    check_trained,
    is_trained,
    kind_of,
    train_vocoder,
)
from aasist_jax.corpus.neural_vocoders.training import CHECKPOINT, Report
from aasist_jax.corpus.packages import Progress
from aasist_jax.errors import DataError
from aasist_jax.runtime.files import replacing, sha256_of

FOLDER = "vocoders"
"""In the folder of a corpus: a folder for each of its vocoders."""

_MOST_CLIPS = 1500
"""Human clips that vocoders are trained on: 90 minutes, 350 MB of memory."""


def vocoders_of(systems: Sequence[System]) -> tuple[str, ...]:
    """The systems that are vocoders trained here."""
    return tuple(system.name for system in systems if system.name in KINDS)


def check_given(given: Path, systems: Sequence[System]) -> None:
    """Check that a folder has all the vocoders of a corpus.

    Raises:
        DataError: one is missing or damaged, or is of another kind than its name says.
    """
    for name in vocoders_of(systems):
        if not is_trained(given / name):
            raise DataError(
                f"{given / name}: no trained vocoder there; `aasist-jax train-vocoder {name}` makes one, and "
                f"`--exclude-systems {name}` does without"
            )
        if (kind := kind_of(given / name)) != name:
            raise DataError(f"{given / name}: a vocoder of the kind {kind}, not {name}; give a folder that has both")
        check_trained(given / name)


def sums_of(folder: Path, systems: Sequence[System]) -> dict[str, str]:
    """The SHA-256 of the weights and description of each vocoder of a corpus that a folder has, by its name."""
    names = [name for name in vocoders_of(systems) if is_trained(folder / name)]
    return {name: sha256_of(folder / name / MODEL, folder / name / CONFIG) for name in names}


def prepare_vocoders(
    output: Path,
    root: Path,
    groups: Sequence[Group],
    systems: Sequence[System],
    progress: Progress,
    *,
    given: Path | None,
    steps: int | None,
    seed: int,
) -> dict[str, str]:
    """Put what is missing of the vocoders into `output`: taken from a folder, or trained on human clips of train.

    Args:
        output: folder of the corpus; its `vocoders/` has a folder for each, and of an unfinished one a checkpoint.
        root: of the unpacked packages.
        groups: the plan.
        systems: of the corpus.
        progress: called for the stage "training NAME" of each (steps).
        given: a folder that has them trained, or None.
        steps: of each one's training, or None for its own.
        seed: of the training.

    Returns:
        What `sums_of` says of them.

    Raises:
        DataError: one cannot be trained, or what is there is damaged.
    """
    speech: list[OtherWave] = []
    for name in vocoders_of(systems):
        folder = output / FOLDER / name
        if is_trained(folder):
            check_trained(folder)
            continue
        if given is not None:
            folder.mkdir(parents=True, exist_ok=True)
            # The description comes last, since it says that all is there.
            for file in (MODEL, CONFIG):
                with replacing(folder / file) as scratch:
                    shutil.copyfile(given / name / file, scratch)
            (folder / CHECKPOINT).unlink(missing_ok=True)
            continue
        speech = speech or _train_speech(root, groups)
        settings = dataclasses.replace(KINDS[name].settings, seed=seed)
        settings = settings if steps is None else dataclasses.replace(settings, steps=steps)

        def show(report: Report, stage: str = f"training {name}") -> None:
            progress(stage, *report[:2])

        train_vocoder(name, settings, speech, folder, show)
    return sums_of(output / FOLDER, systems)


def _train_speech(root: Path, groups: Sequence[Group]) -> list[OtherWave]:
    clips = [group.human for group in groups if group.human.split == "train"][:_MOST_CLIPS]
    return [human_wave(root, clip).astype(np.float32) for clip in clips]
