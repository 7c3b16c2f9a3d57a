"""From waves to frames, no I/O."""
