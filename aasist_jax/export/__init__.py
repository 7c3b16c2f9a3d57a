"""Exports a detector as one file: ONNX for other runtimes, StableHLO for programs with JAX."""
