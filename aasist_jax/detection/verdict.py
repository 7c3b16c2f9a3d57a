"""From the calibrated log-likelihood ratios of a recording's windows to a verdict: human, unsure or synthetic.

Pure functions. Whatever shows a label (scores, segments, alarms, plots, exit codes) takes it from here. The evidence is
that of `aasist_jax.calibration.evidence`; docs/verdict.md derives the rule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from aasist_jax.calibration.evidence import recording_llr
from aasist_jax.errors import ConfigError

Label = Literal["human", "unsure", "synthetic"]
LABELS: tuple[Label, ...] = ("human", "unsure", "synthetic")

Reason = str
UNCALIBRATED = "uncalibrated"
NO_SPEECH = "no speech"
UNLIKE = "unlike anything it was calibrated on"
WINDOWS_DISAGREE = "windows disagree"
CHANNELS_DIFFER = "channels differ"
CAUTIONS = (WINDOWS_DISAGREE, CHANNELS_DIFFER)
"""Reasons that stand beside a verdict. Any other reason makes it unsure, and leaves no number to act on."""

SCALE = (
    (2, "no support for either"),
    (10, "weak support"),
    (100, "moderate support"),
    (1_000, "moderately strong support"),
    (10_000, "strong support"),
    (1_000_000, "very strong support"),
    (math.inf, "extremely strong support"),
)
"""Verbal scale of likelihood ratios: the upper end of each step, and its words (ENFSI, "Guideline for evaluative
reporting in forensic science", 2015, section 2.5)."""


@dataclass(frozen=True)
class DecisionRule:
    """What a decision rests on beside the recording.

    Attributes:
        prior: probability that a recording is synthetic before it is heard, between 0 and 1.
        sure: posterior probability that a label other than `unsure` needs; above 0.5 and below 1.
    """

    prior: float = 0.5
    sure: float = 0.9

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.prior < 1:
            raise ConfigError(f"prior: the probability of synthetic speech must lie between 0 and 1, not {self.prior}")
        if not 0.5 < self.sure < 1:
            raise ConfigError(f"sure: expected a probability above 0.5 and below 1, got {self.sure}")

    @property
    def odds(self) -> float:
        """Prior odds of synthetic speech."""
        return self.prior / (1 - self.prior)

    def label(self, p_synthetic: float) -> Label:
        """The label at a posterior probability of synthetic speech."""
        if p_synthetic >= self.sure:
            return "synthetic"
        return "human" if 1 - p_synthetic >= self.sure else "unsure"

    def told(self, p_synthetic: float, digits: int = 3) -> str:
        """A probability for people, with more digits where fewer would put it beyond a border of the labels."""
        told = (f"{p_synthetic:.{enough}f}" for enough in range(digits, 18))
        return next((each for each in told if self.label(float(each)) == self.label(p_synthetic)), repr(p_synthetic))


@dataclass(frozen=True)
class Verdict:
    """What can be said of a recording, or of what was heard of it so far.

    Attributes:
        label: `human`, `unsure` or `synthetic`.
        llr: log-likelihood ratio of human over synthetic, natural log; None if a reason forbids to give one.
        p_synthetic: posterior probability that all or a part of it is synthetic, at the prior of the rule; None
            without an `llr`.
        reasons: why the verdict is unsure whatever the numbers say, or (`CAUTIONS`) what to know beside it.
        rule: the prior, and how sure one had to be.
    """

    label: Label
    llr: float | None
    p_synthetic: float | None
    reasons: tuple[Reason, ...]
    rule: DecisionRule

    @property
    def evidence(self) -> str:
        """The strength of the evidence in words of the ENFSI scale; '' without an `llr`."""
        return "" if self.llr is None else verbal_scale(self.llr)

    def __str__(self) -> str:
        """As people read it: `unsure (uncalibrated)`."""
        return f"{self.label} ({', '.join(self.reasons)})" if self.reasons else self.label


def verbal_scale(llr: float) -> str:
    """The words of the scale for a log-likelihood ratio, and for which side it speaks."""
    words = next(words for end, words in SCALE if abs(llr) < math.log(end))
    if words == SCALE[0][1]:
        return words
    return f"{words} for {'a human voice' if llr > 0 else 'a synthetic one'}"


def posterior(llr: float, rule: DecisionRule) -> float:
    """Probability of synthetic speech by Bayes' rule."""
    return _logistic(math.log(rule.odds) - llr)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def judge(llrs: Float[np.ndarray, " windows"] | None, rule: DecisionRule, reasons: Sequence[Reason] = ()) -> Verdict:
    """The verdict on a recording.

    Args:
        llrs: the log-likelihood ratios of the windows that were heard; None without a calibration.
        rule: the prior, and how sure one must be.
        reasons: what speaks against judging it, in any order.
    """
    found = list(dict.fromkeys(reasons))
    if llrs is None:
        found.insert(0, UNCALIBRATED)
    elif llrs.size == 0 and not found:
        found.append(NO_SPEECH)
    if llrs is None or any(reason not in CAUTIONS for reason in found):
        return Verdict("unsure", None, None, tuple(found), rule)
    llr = recording_llr(llrs)
    p_synthetic = posterior(llr, rule)
    alone = {rule.label(posterior(float(window), rule)) for window in (llrs.min(), llrs.max())}
    if {"human", "synthetic"} <= alone and WINDOWS_DISAGREE not in found:
        found.append(WINDOWS_DISAGREE)
    return Verdict(rule.label(p_synthetic), llr, p_synthetic, tuple(found), rule)
