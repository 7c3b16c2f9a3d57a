"""The explanation of a window's score, in the same form for every family that can give one."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True, kw_only=True, repr=False)
class Nodes:
    """The spans of time, or the bands of frequency, of an explanation, in order. A graph network has a node for each.

    Only `edges` and `occlusion` exist for every family. The other fields describe a graph network with two branches;
    they are None for other families.

    Attributes:
        edges: borders of the spans in seconds, or of the bands in Hz: one more than there are spans or bands. In a
            network with convolutions they are nominal, because a node also receives samples from neighbouring spans.
        attention: share of the attention in the node's own graph layer that each node receives; the sum is 1.
        first_pool: indices of the nodes that the first pool keeps, highest score first.
        branch_pools: the same for the pool of each of the two branches; these nodes reach the read-out.
        rollout: share of each node in the read-out by attention rollout; over temporal and spectral nodes together
            the sum is 1.
        occlusion: how far the score falls when the span or band is silenced. Above 0: the span or band is evidence for
            bona fide speech; below 0: for a spoof.
    """

    edges: tuple[float, ...]
    attention: tuple[float, ...] | None = None
    first_pool: tuple[int, ...] | None = None
    branch_pools: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    rollout: tuple[float, ...] | None = None
    occlusion: tuple[float, ...]

    def __repr__(self) -> str:
        return f"Nodes({len(self.occlusion)} from {self.edges[0]:g} to {self.edges[-1]:g})"


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why a window got its score. It has no label: that is the verdict's, on the whole recording.

    Attributes:
        score: the raw logit of bona fide; higher means more likely human.
        duration: seconds of the recording.
        window: seconds that are explained. They begin with the recording: the first window or, where a shorter
            recording is padded with zeros, the recording alone. If longer than `duration`, the recording is repeated.
        weights_id: identifies the weights that gave the score.
        time: the spans of time.
        frequency: the bands of frequency.
    """

    score: float
    duration: float
    window: float
    weights_id: str
    time: Nodes
    frequency: Nodes

    def __repr__(self) -> str:
        parts = f"{len(self.time.occlusion)} spans of time, {len(self.frequency.occlusion)} bands of frequency"
        return f"Explanation(score={self.score:.3f}, window={self.window:.2f}, duration={self.duration:.2f}: {parts})"


@runtime_checkable
class Explainer(Protocol):
    """Explains the scores of one model."""

    def __call__(
        self, wave: Float32[np.ndarray, " samples"], *, length: int, duration: float, weights_id: str
    ) -> Explanation:
        """Explain the score of one window.

        Args:
            wave: the window, at 16 kHz.
            length: valid samples at its start. Zeros follow them, which are not to be explained. In a family with a
                fixed window it is always the whole window.
            duration: seconds of the recording.
            weights_id: identifies the weights.
        """
        ...
