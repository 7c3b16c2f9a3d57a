"""Numeric operations: each in XLA, with its gradient, and the choice of a native kernel."""
