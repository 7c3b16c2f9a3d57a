"""The Detector: load weights, score a file, a batch."""
