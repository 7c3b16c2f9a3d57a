"""Numeric operations: for each its XLA form, its gradient, and the choice of a native kernel."""
