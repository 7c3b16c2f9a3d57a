"""Convert weights: `python convert_weights.py MODEL.pth --config C --output DIR`, the same as `aasist-jax convert`."""

from aasist_jax.commands.app import run_verb

if __name__ == "__main__":
    run_verb("convert")
