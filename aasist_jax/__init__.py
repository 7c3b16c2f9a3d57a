"""Audio deepfake detection on JAX: detectors in Flax, with their published weights to the last digit."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aasist_jax.detection.detector import Detector
    from aasist_jax.detection.frame import to_frame
    from aasist_jax.detection.result import Score, Timeline
    from aasist_jax.encoders.encoder import Encoder

__version__ = "0.1.0"
__all__ = ["Detector", "Encoder", "Score", "Timeline", "__version__", "to_frame"]

_HOMES = {
    "Detector": "detection.detector",
    "Encoder": "encoders.encoder",
    "Score": "detection.result",
    "Timeline": "detection.result",
    "to_frame": "detection.frame",
}
"""The modules of `aasist_jax` that the names are from."""


def __getattr__(name: str) -> Any:
    # On first use: commands that need no JAX must not wait for it.
    if name in _HOMES:
        return getattr(importlib.import_module(f"aasist_jax.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
