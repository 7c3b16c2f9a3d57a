"""Tables for the terminal and for a text file."""

import io
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

WIDTH = 150


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> Table:
    """Lay out cells; the first `texts` columns are text, which may wrap, the rest figures, which may not."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < texts else "right", no_wrap=i >= texts)
    for row in rows:
        table.add_row(*row)
    return table


def as_text(tables: Iterable[Table], notes: Iterable[str]) -> str:
    """Write tables and lines as they stand on a wide terminal, without colours."""
    file = io.StringIO()
    console = Console(file=file, width=WIDTH, color_system=None, highlight=False)
    for table in tables:
        console.print(table)
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
