"""What lies under `aasist_jax.audio`: limits, and one module for each library that decodes."""
