"""Progress bars for people at a terminal."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

Item = TypeVar("Item")


class _RateAndTimeLeft(ProgressColumn):
    """Averages since the start: items come in bursts, a batch at a time, which an average over less would show."""

    def render(self, task: Task) -> Text:
        passed = task.completed - task.fields["done"]
        if not passed or not task.elapsed or task.total is None:
            return Text("")
        rate = passed / task.elapsed
        left = timedelta(seconds=round((task.total - task.completed) / rate))
        return Text(f"{rate:.1f}/s, {left} left")


def with_progress(items: Iterable[Item], *, description: str, total: int, done: int = 0) -> Iterator[Item]:
    """Pass `items` on, with a bar on standard error if, and only if, that is a terminal.

    It shows how many of `total` there are, the `done` of an earlier run among them, their rate and the time left.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateAndTimeLeft(),
    )
    # Results on standard output must stay there.
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, redirect_stdout=False
    ) as progress:
        task = progress.add_task(description, total=total, completed=done, done=done)
        for item in items:
            yield item
            progress.advance(task)
