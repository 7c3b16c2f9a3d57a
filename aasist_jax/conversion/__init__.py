"""PyTorch checkpoints in and out, without PyTorch."""
