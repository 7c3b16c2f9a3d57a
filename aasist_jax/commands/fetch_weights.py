"""aasist-jax fetch-weights: Download published weights into the cache folder.

Their SHA-256 is checked, and they are converted. What is there already is not downloaded again.
"""

from typing import Annotated

import typer


def fetch_weights(
    name: Annotated[str, typer.Argument(help="Which weights; `aasist-jax models` lists them.")],
) -> None:
    """Fetch published weights, and print the folder that they are in."""
    from aasist_jax.weights import published

    print(published.fetch_weights(name))
