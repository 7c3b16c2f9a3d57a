"""What moved the raw score of a window: in one sentence, and in numbers. Pure functions."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from aasist_jax.models.explanation import Explanation, Nodes

NAMED_SHARE = 0.5
"""Spans, or bands, are named whose effect is at least this share of the largest one of their kind."""

MOST_NAMED = 2
"""Runs of neighbouring spans, or of bands, that are named for either side."""

LEAST_EFFECT = 0.02
"""Effects on the raw score below this are named nowhere."""


def explanation_sentence(explanation: Explanation) -> str:
    """Which spans and bands spoke for a human and which for a machine, as far as silencing them tells."""
    human, machine = (_parts(explanation, sign) for sign in (1, -1))
    is_repeated = explanation.window > explanation.duration
    what = "the recording, repeated to" if is_repeated else "the first"
    start = f"The raw score of {what} {explanation.window:.2f} s is {explanation.score:+.2f}"
    if not human and not machine:
        return (
            f"{start}, and no span of time and no band of frequency moves it by {LEAST_EFFECT:g} when it is silenced."
        )
    sides = [
        f"{_listed(parts)} spoke for {side}" for parts, side in ((human, "a human"), (machine, "a machine")) if parts
    ]
    return f"{start}. Silencing its parts shows that {', and '.join(sides)}."


def explanation_dict(explanation: Explanation) -> dict[str, Any]:
    """Every number of an explanation for JSON, with the sentence, and without what its family does not give."""
    numbers = dataclasses.asdict(
        explanation, dict_factory=lambda items: {name: value for name, value in items if value is not None}
    )
    return {"sentence": explanation_sentence(explanation), **numbers}


def _parts(explanation: Explanation, sign: int) -> list[str]:
    return [
        *(f"{start:.2f} to {end:.2f} s" for start, end in strongest(explanation.time, sign)),
        *(f"{start:.0f} to {end:.0f} Hz" for start, end in strongest(explanation.frequency, sign)),
    ]


def strongest(nodes: Nodes, sign: int) -> list[tuple[float, float]]:
    """The runs of neighbouring spans, or bands, whose silence moves the score most, the largest effect first.

    Args:
        nodes: of time or of frequency.
        sign: 1 for those that spoke for a human, -1 for those that spoke for a machine.
    """
    effects = np.array(nodes.occlusion)
    least = max(NAMED_SHARE * np.abs(effects).max(initial=0.0), LEAST_EFFECT)
    runs: list[list[int]] = []
    for i in np.flatnonzero(sign * effects >= least).tolist():
        if runs and runs[-1][-1] == i - 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    runs.sort(key=lambda run: -abs(effects[run].sum()))
    return [(nodes.edges[run[0]], nodes.edges[run[-1] + 1]) for run in runs[:MOST_NAMED]]


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
