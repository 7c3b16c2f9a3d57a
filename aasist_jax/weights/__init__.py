"""Weights on disk: the folder format, published weights, PyTorch checkpoints."""
