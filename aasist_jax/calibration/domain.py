"""How far a recording is from those that a detector was calibrated on, by the network's embeddings.

The distance is the mean one to the five nearest windows of the calibration set, on its leading principal components,
each scaled to unit deviation of the features. docs/verdict.md compares it with the Mahalanobis distance and says what
it finds and what it does not.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

NEIGHBOURS = 5
COMPONENTS = 20
FAR_SHARE = 0.01
"""Share of the calibration windows that are themselves farther than `Domain.farthest` from those of other voices."""

DIGITS = 6
"""Significant digits that are kept: more would only make files larger."""

Embeddings = Float[np.ndarray, "windows features"]


@dataclass(frozen=True)
class Domain:
    """Where the embeddings of a calibration set lie.

    Attributes:
        mean: mean of each feature, (features,).
        scale: standard deviation of each feature, (features,).
        components: principal components of the standardised features, (components, features).
        reference: the set's windows on these components, (windows, components).
        farthest: a recording at a greater distance is unlike anything in the set.
    """

    mean: Float[np.ndarray, " features"]
    scale: Float[np.ndarray, " features"]
    components: Float[np.ndarray, "components features"]
    reference: Float[np.ndarray, "windows components"]
    farthest: float

    def distances(self, embeddings: Embeddings) -> Float[np.ndarray, " windows"]:
        """The distance of each window from the set."""
        return _nearest(_distances(self._project(embeddings), self.reference))

    def _project(self, embeddings: Embeddings) -> np.ndarray:
        return ((embeddings - self.mean) / self.scale) @ self.components.T

    def check(self) -> None:
        """Check that the arrays fit together.

        Raises:
            ValueError: they do not.
        """
        features, components = self.mean.shape, self.reference.shape[1:]
        dimensions = (self.mean.ndim, self.reference.ndim)
        fit = self.scale.shape == features and self.components.shape == components + features
        if dimensions != (1, 2) or not fit or not self.reference.size or not self.mean.size:
            raise ValueError("the arrays of its domain do not fit together")
        if self.scale.min() <= 0:
            raise ValueError("a scale of its domain is not positive")


def fit_domain(embeddings: Embeddings, voices: np.ndarray) -> Domain:
    """Find where a calibration set lies; what is far is measured between each voice and all others.

    Args:
        embeddings: of the set's windows.
        voices: which voice each window is of, (windows,).
    """
    mean, scale = embeddings.mean(axis=0), embeddings.std(axis=0)
    # A feature that never changes says nothing.
    scale = np.where(scale > 0, scale, 1.0)
    standard = (embeddings - mean) / scale
    components = np.linalg.svd(standard, full_matrices=False)[2][:COMPONENTS]
    reference = standard @ components.T
    between = _distances(reference, reference)
    between[voices[:, np.newaxis] == voices] = np.inf
    farthest = float(np.quantile(_nearest(between), 1 - FAR_SHARE))
    return Domain(_rounded(mean), _rounded(scale), _rounded(components), _rounded(reference), farthest)


def _distances(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    squares = (points**2).sum(axis=1)[:, np.newaxis] + (reference**2).sum(axis=1) - 2 * points @ reference.T
    return np.sqrt(np.maximum(squares, 0.0))


def _nearest(distances: np.ndarray) -> np.ndarray:
    """The mean of each row's smallest values; infinite ones count only where there is no other."""
    nearest = np.sort(distances, axis=1)[:, :NEIGHBOURS]
    finite = np.isfinite(nearest)
    return np.where(finite, nearest, 0.0).sum(axis=1) / np.maximum(finite.sum(axis=1), 1)


def _rounded(array: np.ndarray) -> np.ndarray:
    return np.array([float(f"{value:.{DIGITS}g}") for value in array.ravel()]).reshape(array.shape)
