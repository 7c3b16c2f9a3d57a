"""Detectors as pure Flax Linen modules, and the same as ONNX graphs."""
