"""Audio deepfake detection on JAX."""
