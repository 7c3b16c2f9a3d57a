"""The large corpus: many voices and systems, split by both, for training detectors."""
