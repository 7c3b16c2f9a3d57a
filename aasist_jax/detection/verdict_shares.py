"""How often verdicts are right, wrong and unsure on recordings whose truth is known."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import load_audio
from aasist_jax.data.utterances import Utterance
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.verdict import DecisionRule, Label
from aasist_jax.errors import AudioError

logger = logging.getLogger(__name__)

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""What is done to a wave at 16 kHz before it is judged, such as a telephone line."""


@dataclass(frozen=True)
class Judged:
    """A recording whose truth is known, and the label that it got; None if it could not be read."""

    utterance: Utterance
    label: Label | None

    @property
    def is_human(self) -> bool:
        """Whether a human speaks."""
        return self.utterance.label == "bonafide"

    @property
    def maker(self) -> str:
        """Whose voice it is, or which system made it."""
        return self.utterance.speaker if self.is_human else self.utterance.attack


@dataclass(frozen=True)
class Shares:
    """Shares of some recordings, with the Wilson interval (95 %) of what is wrong.

    Attributes:
        name: of the recordings.
        count: of recordings.
        wrong: share with the wrong label.
        low: lower end of the interval.
        high: upper end.
        unsure: share that is unsure.
    """

    name: str
    count: int
    wrong: float
    low: float
    high: float
    unsure: float


def judge_all(
    detector: Detector,
    utterances: Sequence[Utterance],
    *,
    rule: DecisionRule | None = None,
    change: Change | None = None,
) -> Iterator[Judged]:
    """Judge recordings whose truth is known; one that cannot be read is logged and has no label."""
    sources = [partial(_source, utterance, number, change) for number, utterance in enumerate(utterances)]
    for utterance, result in zip(utterances, detector.score_sources(sources, rule=rule), strict=True):
        if isinstance(result, AudioError):
            logger.warning("left out: %s", result)
            yield Judged(utterance, None)
        else:
            yield Judged(utterance, result.label)


def _source(utterance: Utterance, number: int, change: Change | None) -> Any:
    if change is None:
        return str(utterance.path)
    wave = change(load_audio(utterance.path).astype(np.float64), np.random.default_rng(number))
    return wave.astype(np.float32), SAMPLE_RATE


def shares(name: str, judged: Sequence[Judged]) -> Shares:
    """The shares of recordings of one kind, of which there is at least one."""
    count = len(judged)
    wrong = sum(each.label == ("synthetic" if each.is_human else "human") for each in judged)
    unsure = sum(each.label == "unsure" for each in judged)
    return Shares(name, count, wrong / count, *wilson_interval(wrong, count), unsure / count)


def by_maker(judged: Sequence[Judged], *, is_human: bool) -> list[Shares]:
    """The shares of every voice, or of every system, the worst first."""
    groups: dict[str, list[Judged]] = {}
    for each in judged:
        if each.is_human is is_human:
            groups.setdefault(each.maker, []).append(each)
    found = [shares(name, members) for name, members in groups.items()]
    return sorted(found, key=lambda each: (-each.wrong, -each.unsure, each.name))


def wilson_interval(errors: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, "Probable inference", JASA 22, 1927)."""
    z, share = 1.959964, errors / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return max(float(centre - reach), 0.0), min(float(centre + reach), 1.0)
