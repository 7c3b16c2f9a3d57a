"""A detector as one file for other runtimes: ONNX, and StableHLO for any program with JAX."""
