"""The checkpoints of a training run: saved in the background, verified by checksum before anything is restored."""
