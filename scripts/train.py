"""Train a detector: `python scripts/train.py --config CONFIG`, the same as `aasist-jax train`."""

from aasist_jax.commands.app import run_verb

if __name__ == "__main__":
    run_verb("train")
