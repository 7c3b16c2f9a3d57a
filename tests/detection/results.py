"""Results made by hand, with any evidence."""

from collections.abc import Sequence

import numpy as np

from aasist_jax.audio.facts import SignalFacts
from aasist_jax.detection.result import Score, Timeline
from aasist_jax.detection.timeline import WindowScore
from aasist_jax.detection.verdict import DecisionRule, Reason, judge

WINDOW = 4.0
"""Seconds."""


def made_score(
    llrs: Sequence[float | None],
    *,
    reasons: Sequence[Reason] = (),
    calibrated: bool = True,
    published: bool = False,
    rule: DecisionRule | None = None,
) -> Score:
    """A result of windows end to end with these log-likelihood ratios; None for one that is not heard."""
    windows = tuple(
        WindowScore(WINDOW * place, WINDOW * (place + 1), None, "no speech")
        if llr is None
        else WindowScore(WINDOW * place, WINDOW * (place + 1), (-llr, 2 * llr), "ok", llr if calibrated else None)
        for place, llr in enumerate(llrs)
    )
    heard = np.array([llr for llr in llrs if llr is not None], np.float64)
    verdict = None if published else judge(heard if calibrated else None, rule or DecisionRule(), reasons)
    logits = (-float(heard.mean()), 2 * float(heard.mean())) if heard.size else None
    return Score(
        verdict=verdict,
        score=logits[1] if logits else None,
        logits=logits,
        seconds=WINDOW * len(llrs),
        heard_seconds=WINDOW * heard.size,
        speech_seconds=WINDOW * heard.size,
        status="ok",
        facts=SignalFacts(WINDOW * len(llrs), WINDOW * heard.size, -26.0, 0.5, 0.0, 8000.0),
        weights_id="toy-0123",
        model_id="toy-0123+4567" if calibrated else "toy-0123",
        windows=windows,
    )


def made_timeline(score: Score) -> Timeline:
    """The timeline of the score's own windows."""
    return Timeline(score, WINDOW, WINDOW, True, score.windows, score.segments)
