"""Training: loss, optimizer, one pure step, pmap, averaging, checkpoints, the loop."""
