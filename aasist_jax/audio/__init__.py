"""Audio in: decoding within limits, mono at 16 kHz, windows, what a recording is like."""
