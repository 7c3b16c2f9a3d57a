"""Why a window got its score: what every family that can explain itself says in the same terms."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class Nodes:
    """The graph nodes of one kind, temporal or spectral, in the order of time or frequency.

    Attributes:
        edges: borders of the nodes' spans in seconds, or of their bands in Hz: one more than there are nodes. They are
            nominal: the convolutions let a node hear its neighbours as well.
        attention: the share of the attention in its own graph layer that each node receives; 1 in all.
        first_pool: indices of the nodes that the first pool keeps, highest score first.
        branch_pools: the same for the pool of each of the two branches: the nodes that reach the read-out.
        rollout: share of the node in the read-out by attention rollout; temporal and spectral nodes together make 1.
        occlusion: how far the score falls when the node's span or band is silenced. Above 0, it spoke for a human;
            below 0, for a machine.
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
        score: the raw logit of bona fide; higher is more human.
        duration: seconds of the recording. Where it is shorter than the window, the window holds it several times.
        window: seconds of the window, the first of the recording.
        model_id: the model that scored it.
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
