"""Data sets: protocols, preflight checks and the Grain input pipeline (no JAX in here)."""
