"""Kernels for CPUs in C++, compiled on first use, for what XLA does slowly."""
