"""C++ kernels for CPUs, compiled on first use, for operations that are slow in XLA."""
