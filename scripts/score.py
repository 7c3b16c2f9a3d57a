"""Score audio files: `python scripts/score.py FILE... --weights DIR`, the same as `aasist-jax score`."""

from aasist_jax.commands.app import run_verb

if __name__ == "__main__":
    run_verb("score")
