"""The checkpoints of a training run: saved in the background, and verified by checksum before they are restored."""
