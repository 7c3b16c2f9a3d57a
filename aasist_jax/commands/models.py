"""aasist-jax models: List the architectures and the weights that there are."""

from collections.abc import Sequence


def models() -> None:
    """Print a table of each kind of thing that can be named."""
    from aasist_jax.commands.tables import print_table

    for header, rows in (
        (("Architecture",), _architectures()),
        (("Weights", "Size", "Where"), _weights()),
    ):
        print_table(header, rows)
        print()


def _architectures() -> Sequence[Sequence[str]]:
    from aasist_jax.models.family import architecture_names

    return [(name,) for name in architecture_names()]


def _weights() -> Sequence[Sequence[str]]:
    """Published weights: where they lie, or how to get them."""
    from aasist_jax.errors import WeightsError
    from aasist_jax.weights.published import CHECKPOINTS, find_weights

    rows = []
    for name, checkpoint in CHECKPOINTS.items():
        try:
            where = str(find_weights(name))
        except WeightsError:
            where = f"aasist-jax fetch-weights {name}"
        rows.append((name, f"{checkpoint.size / 1e6:.1f} MB", where))
    return rows
