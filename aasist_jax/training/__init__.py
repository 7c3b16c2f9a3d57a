"""Training: the loop, the step, loss and optimizer, selection and averaging of weights, checkpoints."""
