"""The requirements of every metric on its scores."""

import numpy as np
from jaxtyping import Float

from aasist_jax.errors import AasistError

BonafideScores = Float[np.ndarray, "bonafide"]
"""Scores of bona fide trials, in any order."""

SpoofScores = Float[np.ndarray, "spoof"]
"""Scores of spoofs, in any order."""


class ScoresError(AasistError, ValueError):
    """A metric cannot be computed from these scores."""


def checked(scores: Float[np.ndarray, "trials"], name: str) -> Float[np.ndarray, "trials"]:
    """Check the scores and return them in float64.

    Args:
        scores: Real scores, any order.
        name: Name for error messages, such as "bona fide".

    Raises:
        ScoresError: There are no scores, or one is NaN or infinite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.size == 0:
        raise ScoresError(f"there are no {name} scores; a metric needs at least one of each class")
    finite = np.isfinite(scores)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ScoresError(
            f"{name} score number {first} is {scores[first]}; take out the {np.sum(~finite)} trials without "
            "a finite score, or score them again"
        )
    return scores
