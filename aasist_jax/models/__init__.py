"""Detectors as pure Flax Linen modules."""
