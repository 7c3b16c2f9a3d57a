"""Get ASVspoof 2019 LA: `python scripts/download_dataset.py`, the same as `aasist-jax download`."""

from aasist_jax.commands.app import run_verb

if __name__ == "__main__":
    run_verb("download")
