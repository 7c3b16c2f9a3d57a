"""Data sets: layouts, splits, checks of the files and the Grain input pipeline. Nothing here uses JAX."""
