"""Build a small corpus: `python scripts/build_corpus.py data/quickstart`, the same as `aasist-jax build-corpus`."""

from aasist_jax.commands.app import run_verb

if __name__ == "__main__":
    run_verb("build-corpus")
