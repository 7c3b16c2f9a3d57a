"""Error rates of trivial cues (such as duration and level), to check that they do not reveal the class of a clip."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Bool, Float, Int
from scipy import optimize, special

from aasist_jax.augmentation.sound.levels import active_level, frame_levels
from aasist_jax.corpus.channel import frequencies, long_term_spectrum
from aasist_jax.corpus.large.systems import group_of
from aasist_jax.corpus.layout import read_metadata
from aasist_jax.data.layouts.asvspoof2019 import clip_path
from aasist_jax.metrics.error_rates import equal_error_rate

CUES = (
    *("duration", "noise floor", "offset", "level", "edges", "crest", "zeros"),
    *("silence", "slope", "bandwidth"),
)
ALL, WITH_CREST = "all but crest", "all"
"""The names under which the cues together are reported.

A crest factor alone is a trivial cue, but with others it tells of the pulses of a synthesiser, which are what a
detector is to hear; so the limit does not hold for `WITH_CREST`.
"""

LIMIT = 0.35
"""A corpus whose classes can be told apart by trivial cues with fewer errors than this teaches the cues."""

_EDGE = 320
_QUIET = -30.0
_FOLDS = 5
_PENALTY = 1e-2

Rates = dict[str, dict[str, float]]
"""Equal error rates by group and cue."""


def measure(wave: Float[np.ndarray, "samples"]) -> Float[np.ndarray, "cues"]:
    """The `CUES` of a clip at 16 kHz.

    In this order: seconds; the level of the quietest twentieth of the frames in dB; the mean, of full scale; the active
    level and the level of the first and last 20 ms in dB; peak over effective value in dB; the share of samples
    that are zero; the share of frames 30 dB or more below the loud ones; the slope of the long-term spectrum from 250
    to 4000 Hz in dB per octave; the highest frequency in Hz at which the spectrum comes within 40 dB of its peak.
    """
    levels = frame_levels(wave)
    edges = 10 * np.log10(np.mean(np.concatenate([wave[:_EDGE], wave[-_EDGE:]]) ** 2) + 1e-20)
    crest = 20 * np.log10(np.abs(wave).max() / np.sqrt(np.mean(wave**2)))
    silence = np.mean(levels < np.percentile(levels, 95) + _QUIET)
    spectrum = 10 * np.log10(long_term_spectrum(wave))
    hertz = frequencies()
    middle = (hertz >= 250) & (hertz <= 4000)
    slope, _ = np.polyfit(np.log2(hertz[middle]), spectrum[middle], 1)
    bandwidth = hertz[spectrum > spectrum.max() - 40].max()
    return np.array(
        [
            *(wave.size / 16000, np.percentile(levels, 5), wave.mean(), active_level(wave), edges, crest),
            *(np.mean(wave == 0), silence, slope, bandwidth),
        ],
        np.float64,
    )


def cue_error_rates(corpus: Path) -> Rates:
    """Equal error rates over a whole corpus of each cue, and of all together, against each group of systems.

    The sign of a single cue is not known, so the lower of its two rates counts, and chance is a little below 50 %. All
    together (`ALL`, `WITH_CREST`) are weighed by a logistic regression, which scores each speaker when fitted without
    that speaker.

    Args:
        corpus: a folder that `build-corpus` has made, or one with the same protocols and `metadata.csv`.
    """
    rows = read_metadata(corpus)
    measured = np.array([measure(_read(corpus, row)) for row in rows])
    groups = np.array(["human" if row["label"] == "bonafide" else group_of(row["attack"]) for row in rows])
    speakers = [row["speaker"] for row in rows]
    rates: Rates = {}
    for group in sorted(set(groups) - {"human"}):
        chosen = (groups == "human") | (groups == group)
        cues, human = measured[chosen], groups[chosen] == "human"
        rates[group] = {cue: _either_rate(cues[:, number], human) for number, cue in enumerate(CUES)}
        folds = fold_by_speaker([name for name, here in zip(speakers, chosen, strict=True) if here])
        for name, used in ((ALL, [cue != "crest" for cue in CUES]), (WITH_CREST, [True for _ in CUES])):
            scores = _held_out_scores(cues[:, used], human, folds)
            rates[group][name] = _rate(scores[human], scores[~human])
    return rates


def below_limit(rates: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str, float]]:
    """The groups and cues, single or `ALL`, with a rate below `LIMIT`, and the rate."""
    limited = (*CUES, ALL)
    return [
        (group, cue, rate) for group, of in rates.items() for cue, rate in of.items() if cue in limited and rate < LIMIT
    ]


def cue_table(rates: Rates) -> str:
    """Rates as text, in per cent."""
    lines = ["EER of trivial cues, %".ljust(24) + "".join(f"{group:>10}" for group in rates)]
    for cue in (*CUES, ALL, WITH_CREST):
        lines.append(f"{cue:<24}" + "".join(f"{100 * of[cue]:>10.1f}" for of in rates.values()))
    return "\n".join(lines)


def fold_by_speaker(speakers: Sequence[str]) -> Int[np.ndarray, "clips"]:
    """The fold of each clip, of five of about equal size; all clips of a speaker are in one."""
    counts = {name: speakers.count(name) for name in sorted(set(speakers))}
    sizes = [0] * _FOLDS
    fold_of = {}
    for name in sorted(counts, key=lambda name: -counts[name]):
        fold_of[name] = int(np.argmin(sizes))
        sizes[fold_of[name]] += counts[name]
    return np.array([fold_of[name] for name in speakers])


def _read(corpus: Path, row: Mapping[str, str]) -> Float[np.ndarray, "samples"]:
    wave, _ = soundfile.read(clip_path(corpus, row["split"], row["utterance"]))
    return wave


def _rate(human: Float[np.ndarray, "human"], fake: Float[np.ndarray, "fake"]) -> float:
    return float(equal_error_rate(human, fake).eer)


def _either_rate(cue: Float[np.ndarray, "clips"], human: Bool[np.ndarray, "clips"]) -> float:
    return min(_rate(cue[human], cue[~human]), _rate(-cue[human], -cue[~human]))


def _held_out_scores(
    cues: Float[np.ndarray, "clips cues"], human: Bool[np.ndarray, "clips"], folds: Int[np.ndarray, "clips"]
) -> Float[np.ndarray, "clips"]:
    """Scores, higher for human clips, by a regression fitted on the other folds; 0 where there is none to fit."""
    scores = np.zeros(human.size)
    for fold in np.unique(folds):
        others = folds != fold
        if len(np.unique(human[others])) == 2:
            mean, scale = cues[others].mean(axis=0), cues[others].std(axis=0) + 1e-12
            weights = _logistic((cues[others] - mean) / scale, human[others])
            scores[~others] = np.column_stack([(cues[~others] - mean) / scale, np.ones((~others).sum())]) @ weights
    return scores


def _logistic(
    cues: Float[np.ndarray, "fitted cues"], human: Bool[np.ndarray, "fitted"]
) -> Float[np.ndarray, "cues_and_1"]:
    """Weights and bias of a logistic regression with both classes of equal weight and a small L2 penalty."""
    inputs = np.column_stack([cues, np.ones(human.size)])
    signs = np.where(human, 1.0, -1.0)
    shares = np.where(human, 0.5 / human.sum(), 0.5 / (~human).sum())

    def loss(weights: Float[np.ndarray, "cues_and_1"]) -> tuple[float, Float[np.ndarray, "cues_and_1"]]:
        margins = signs * (inputs @ weights)
        value = shares @ np.logaddexp(0, -margins) + _PENALTY * (weights[:-1] @ weights[:-1])
        gradient = inputs.T @ (-shares * signs * special.expit(-margins))
        gradient[:-1] += 2 * _PENALTY * weights[:-1]
        return float(value), gradient

    return optimize.minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x
