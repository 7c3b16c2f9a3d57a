"""Augmented copies of a recording as files, for the ear."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float32

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Chain, Drawn, augment, find_kind, kind_names, kind_of, prepare
from aasist_jax.errors import AudioError
from aasist_jax.runtime.files import replacing


@dataclass(frozen=True)
class AugmentedFile:
    """What was written, and what was drawn for it: the kinds that were applied, each with its numbers."""

    path: Path
    drawn: Sequence[tuple[str, Drawn]]


def example_chains(kinds: Sequence[str] = ()) -> dict[str, Chain]:
    """What the kinds show of themselves, by the names of the files to write: the kind, and what is not its default.

    Args:
        kinds: names of kinds; all if there are none.

    Raises:
        ConfigError: there is no such kind.
    """
    return {name_of(example): (example,) for kind in kinds or kind_names() for example in find_kind(kind).examples()}


def name_of(step: Augmentation) -> str:
    """The kind and the settings that are not its default, such as `rawboost-algorithm-3`; fit for a file's name."""
    parts, default = [kind_of(step)], type(step)()
    for field in step.__struct_fields__:
        value = getattr(step, field)
        if value != getattr(default, field):
            values = dict.fromkeys(value if isinstance(value, tuple) else (value,))
            parts += [field, *(f"{each:g}" if isinstance(each, float) else str(each) for each in values)]
    return "-".join(parts).replace("/", "_")


def write_augmented(
    wave: Float32[np.ndarray, "samples"],
    chains: Iterable[tuple[str, Chain]],
    folder: Path,
    *,
    seed: int = 0,
    clips: Sequence[np.ndarray] = (),
) -> Iterator[AugmentedFile]:
    """Write `NAME.wav` for each chain, 16 bit at 16 kHz, as it comes.

    Args:
        wave: mono at 16 kHz.
        chains: names without an ending, and what is done to the wave.
        folder: made if needed.
        seed: with the name, it decides what is drawn.
        clips: other recordings, which babble is made of.

    Raises:
        AudioError: a kind cannot be applied.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, chain in chains:
        rng = np.random.default_rng([seed, *name.encode()])
        changed, drawn = augment(wave, chain, rng, clips)
        path = folder / f"{name}.wav"
        with replacing(path) as scratch:
            soundfile.write(scratch, np.clip(changed, -1, 1), SAMPLE_RATE, format="WAV", subtype="PCM_16")
        yield AugmentedFile(path, drawn)


def missing(chain: Chain) -> str:
    """Why a chain cannot be applied here, in a line; "" if it can."""
    try:
        prepare(chain)
    except AudioError as error:
        return str(error)
    return ""
