"""Score a split and report: `python scripts/evaluate.py --config C --weights W`, the same as `aasist-jax evaluate`."""

from aasist_jax.commands.app import run_verb

if __name__ == "__main__":
    run_verb("evaluate")
