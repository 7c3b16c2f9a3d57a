"""Score audio files: `python scripts/score.py FILE... --weights DIR`, the same as `aasist-jax score`."""

from aasist_jax.commands.cli import run, score

if __name__ == "__main__":
    run(score)
