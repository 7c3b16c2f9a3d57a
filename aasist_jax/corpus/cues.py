"""Error rates of trivial cues (such as duration and level), to check that they do not reveal the class of a clip."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from aasist_jax.augmentation.sound.levels import active_level, frame_levels
from aasist_jax.corpus.layout import read_metadata
from aasist_jax.corpus.plan import ATTACKS
from aasist_jax.data.layouts.asvspoof2019 import clip_path
from aasist_jax.metrics.error_rates import equal_error_rate

CUES = ("duration", "noise floor", "offset", "level", "edges", "crest", "zeros")

_EDGE = 320


def measure(wave: Float[np.ndarray, "samples"]) -> Float[np.ndarray, "cues"]:
    """The `CUES` of a clip: seconds, dB, signed full scale, dB, dB, dB, share of zero samples."""
    levels = frame_levels(wave)
    edges = 10 * np.log10(np.mean(np.concatenate([wave[:_EDGE], wave[-_EDGE:]]) ** 2) + 1e-20)
    crest = 20 * np.log10(np.abs(wave).max() / np.sqrt(np.mean(wave**2)))
    floor = np.percentile(levels, 5)
    return np.array(
        [wave.size / 16000, floor, wave.mean(), active_level(wave), edges, crest, np.mean(wave == 0)], np.float64
    )


def cue_error_rates(output: Path) -> dict[str, dict[str, float]]:
    """Equal error rates in eval of each cue and of a linear discriminant of all, against each kind of attack.

    The sign of a single cue is not known, so the lower of its two rates counts, and chance is a little below 50%. The
    discriminant ("all") is fitted on the train split.
    """
    kinds = {attack.name: attack.kind for attack in ATTACKS}
    measured: dict[str, dict[str, list[Float[np.ndarray, cues]]]] = {"train": {}, "eval": {}}
    for row in read_metadata(output):
        if row["split"] in measured:
            wave, _ = soundfile.read(clip_path(output, row["split"], row["utterance"]))
            measured[row["split"]].setdefault(kinds.get(row["attack"], "human"), []).append(measure(wave))
    rates = {}
    for kind in ("copy", "speech"):
        human, fake = (np.array(measured["eval"][name]) for name in ("human", kind))
        rates[kind] = {
            cue: min(_rate(human[:, n], fake[:, n]), _rate(-human[:, n], -fake[:, n])) for n, cue in enumerate(CUES)
        }
        weights = _discriminant(measured["train"]["human"], measured["train"][kind])
        rates[kind]["all"] = _rate(human @ weights, fake @ weights)
    return rates


def cue_table(output: Path) -> str:
    """`cue_error_rates` as text, in per cent."""
    rates = cue_error_rates(output)
    lines = ["EER of trivial cues in eval, %   copy synthesis   text-to-speech"]
    for cue in (*CUES, "all"):
        lines.append(f"{cue:<32} {100 * rates['copy'][cue]:>14.1f} {100 * rates['speech'][cue]:>16.1f}")
    return "\n".join(lines)


def _rate(human: Float[np.ndarray, "human"], fake: Float[np.ndarray, "fake"]) -> float:
    return float(equal_error_rate(human, fake).eer)


def _discriminant(
    human: Sequence[Float[np.ndarray, "cues"]], fake: Sequence[Float[np.ndarray, "cues"]]
) -> Float[np.ndarray, "cues"]:
    """Fisher's linear discriminant direction; human clips have the higher projections."""
    first, second = np.array(human), np.array(fake)
    scale = np.concatenate([first, second]).std(axis=0) + 1e-12
    within = np.cov((first / scale).T) + np.cov((second / scale).T) + 1e-3 * np.eye(scale.size)
    return np.linalg.solve(within, (first.mean(axis=0) - second.mean(axis=0)) / scale) / scale
