"""`python -m aasist_jax` is the command `aasist-jax`."""

from aasist_jax.commands.app import main

if __name__ == "__main__":
    main()
