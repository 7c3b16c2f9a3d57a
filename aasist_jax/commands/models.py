"""aasist-jax models: List the architectures, configurations and weights."""

from collections.abc import Sequence


def models() -> None:
    """Print a table of each kind of thing that can be named."""
    from aasist_jax.commands.tables import print_table

    for header, rows in (
        (("Architecture", "Time line", "Explains", "ONNX"), _architectures()),
        (("Configuration", "Architecture"), _configurations()),
        (("Weights", "Size", "Licence", "Where"), _weights()),
    ):
        print_table(header, rows)
        print()


def _architectures() -> Sequence[Sequence[str]]:
    """What each family is able to do."""
    from aasist_jax.models.family import family, family_names

    rows = []
    for name in family_names():
        entry = family(name)
        over_time = "windows share one pass" if entry.frame_geometry else "every window by itself"
        rows.append((name, over_time, "yes" if entry.explainer else "no", "yes" if entry.onnx_graph else "no"))
    return rows


def _configurations() -> Sequence[Sequence[str]]:
    """What `--config NAME` takes."""
    from aasist_jax.config import configuration_names, load_config
    from aasist_jax.models.family import family_of

    return [(name, family_of(load_config(name).model_config).name) for name in configuration_names()]


def _weights() -> Sequence[Sequence[str]]:
    """Weights of the package, and published ones: where they lie, or how to get them."""
    from aasist_jax.weights import shipped
    from aasist_jax.weights.published import default_weights, list_weights

    rows = []
    for name in shipped.shipped_names():
        rows.append(
            (name, shipped.folder_size(shipped.shipped_folder(name)), shipped.LICENCE, "comes with the package")
        )
    for listed in list_weights():
        entry = listed.published
        where = str(listed.folder) if listed.folder else f"to be had: aasist-jax fetch-weights {entry.name}"
        rows.append((entry.name, entry.size, entry.licence, where))
    marked = default_weights()
    return [
        (f"{name} (default)" if name == marked else name, f"{size / 1e6:.1f} MB", licence, where)
        for name, size, licence, where in rows
    ]
