"""`python -m aasist_jax` is the command `aasist-jax`."""

from aasist_jax.commands.interrupts import interrupt_handling


def main() -> None:
    """Entry point of `aasist-jax`: the import of the command line can be interrupted as well."""
    with interrupt_handling():
        from aasist_jax.commands.app import main as run_command

        run_command()


if __name__ == "__main__":
    main()
