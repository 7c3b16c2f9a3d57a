"""Metrics of spoofing countermeasures: NumPy in, NumPy out, no I/O."""
