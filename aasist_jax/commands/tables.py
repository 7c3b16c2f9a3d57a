"""Tables that several verbs print."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text below a header, the first column to the left and the others to the right."""
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.1f} %"


def print_calibration_losses(systems: Sequence[tuple[str, Any]], is_bonafide: Any) -> None:
    """Print the Cllr and min Cllr of systems on the same trials.

    Args:
        systems: the name of each, and its scores, float64 (trials,).
        is_bonafide: True for bona fide speech, bool (trials,).
    """
    from aasist_jax.metrics.calibration_loss import cllr_bits, min_cllr_bits

    rows = []
    for name, scores in systems:
        classes = scores[is_bonafide], scores[~is_bonafide]
        rows.append((name, f"{cllr_bits(*classes):.4f}", f"{min_cllr_bits(*classes):.4f}"))
    print_table(("On these trials", "Cllr, bits", "min Cllr, bits"), rows)
