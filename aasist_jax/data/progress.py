"""Progress bars for people at a terminal."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], *, description: str, total: int) -> Iterator[Item]:
    """Pass `items` on, with a bar on standard error if, and only if, that is a terminal."""
    console = Console(stderr=True)
    yield from track(
        items,
        description=description,
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
