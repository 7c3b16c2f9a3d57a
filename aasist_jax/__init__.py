"""Audio deepfake detection on JAX: detectors in Flax, with their published weights to the last digit."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aasist_jax.detection.detector import Detector
    from aasist_jax.detection.result import Score

__version__ = "0.1.0"
__all__ = ["Detector", "Score", "__version__"]


def __getattr__(name: str) -> Any:
    # On first use: commands that need no JAX must not wait for it.
    if name in ("Detector", "Score"):
        from aasist_jax.detection import detector, result

        return detector.Detector if name == "Detector" else result.Score
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
