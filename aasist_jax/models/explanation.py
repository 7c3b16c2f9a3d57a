"""The explanation of a window's score, in the same form for every family that can give one."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class Nodes:
    """The graph nodes of one kind, temporal or spectral, in the order of time or frequency.

    Attributes:
        edges: borders of the nodes' spans in seconds, or of their bands in Hz: one more than there are nodes. They are
            nominal, because the convolutions also mix in samples from the neighbouring spans and bands.
        attention: share of the attention in the node's own graph layer that each node receives; the sum is 1.
        first_pool: indices of the nodes that the first pool keeps, highest score first.
        branch_pools: the same for the pool of each of the two branches; these nodes reach the read-out.
        rollout: share of each node in the read-out by attention rollout; over temporal and spectral nodes together
            the sum is 1.
        occlusion: how far the score falls when the node's span or band is silenced. Above 0: the span or band is
            evidence for bona fide speech; below 0: for a spoof.
    """

    edges: tuple[float, ...]
    attention: tuple[float, ...]
    first_pool: tuple[int, ...]
    branch_pools: tuple[tuple[int, ...], tuple[int, ...]]
    rollout: tuple[float, ...]
    occlusion: tuple[float, ...]


@dataclass(frozen=True)
class Explanation:
    """Why a window got its score.

    Attributes:
        label: `bonafide` or `spoof`.
        score: the raw logit of bona fide; higher means more likely human.
        duration: seconds of the recording. A recording shorter than the window is repeated to fill it.
        window: length of the explained window in seconds; it is the first of the recording.
        model_id: identifies the model that gave the score.
        time: the temporal nodes.
        frequency: the spectral nodes.
    """

    label: str
    score: float
    duration: float
    window: float
    model_id: str
    time: Nodes
    frequency: Nodes


@runtime_checkable
class Explainer(Protocol):
    """Explains the scores of one model."""

    def __call__(self, wave: Float32[np.ndarray, " samples"], *, duration: float, model_id: str) -> Explanation:
        """Explain the score of one window of a recording that lasts `duration` seconds."""
        ...
