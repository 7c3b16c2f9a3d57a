"""Progress on standard error: one bar per task on a terminal; elsewhere optional lines."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Literal, TypeVar

from rich import filesize
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from aasist_jax.runtime.messages import is_quiet, stop_writing

Item = TypeVar("Item")

Lines = Literal["never", "now and then", "begin and end"]
"""When to print a line about a task if no bar can be drawn."""

LINE_SECONDS = 10.0
BYTES = "bytes"
"""The unit for amounts that are shown as MB and GB."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Standard error is closed. Unlike rich, do not end the process for that.
        self.quiet = True
        stop_writing(sys.__stderr__)


class _Amount(ProgressColumn):
    """The column with the amount done and the total."""

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        if unit == BYTES:
            return DownloadColumn().render(task)
        return MofNCompleteColumn().render(task).append(f" {unit}" if unit else "")


class _RateAndTimeLeft(ProgressColumn):
    """The column with rate and time left, averaged since the start because items arrive in bursts (batches)."""

    def render(self, task: Task) -> Text:
        passed = task.completed - task.fields["done_before"]
        if passed <= 0 or not task.elapsed:
            return Text("")
        rate = passed / task.elapsed
        shown = []
        # A note already contains the rate.
        if not task.fields["note"]:
            shown.append(f"{filesize.decimal(int(rate))}/s" if task.fields["unit"] == BYTES else f"{rate:.1f}/s")
        if task.total is not None:
            shown.append(f"{timedelta(seconds=round((task.total - task.completed) / rate))} left")
        return Text(", ".join(shown))


class Progress:
    """The progress of several tasks, identified by their names. A context manager that clears the bars at its end.

    Args:
        lines: when to print a line about a task if standard error is not a terminal: never, every ten seconds, or when
            it begins and ends. The line at the end is also printed on a terminal, in place of the bar.
        quiet: show nothing; implied by `be_quiet`.
    """

    def __init__(self, *, lines: Lines = "never", quiet: bool = False) -> None:
        self.console = _Console(stderr=True, quiet=quiet or is_quiet())
        self._lines = lines
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            _Amount(),
            TextColumn("{task.fields[note]}"),
            _RateAndTimeLeft(),
            console=self.console,
            transient=True,
            disable=self.console.quiet or not self.console.is_terminal,
            # Results on standard output must not be redirected.
            redirect_stdout=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._ended: set[str] = set()
        self._last_line = 0.0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    @property
    def draws(self) -> bool:
        """Whether bars are drawn."""
        return not self._bars.disable

    def say(self, text: str) -> None:
        """Print a line of news above the bars."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, task: str, done: int, total: int | None, *, unit: str = "", note: str = "") -> None:
        """Show the progress of a task; the first call for a name begins a task.

        Args:
            task: name of the task.
            done: amount done. The amount in the first call counts as done before, and not towards the rate.
            total: total amount; None if it is unknown.
            unit: what is counted, such as clips; `BYTES` are shown as MB and GB.
            note: text shown instead of the rate.
        """
        is_new = task not in self._began
        if is_new:
            self._began[task] = time.monotonic()
        if self.draws:
            self._draw(task, done, total, unit, note)
        elif self._lines == "now and then" and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say(f"{task} {done}{'' if total is None else f'/{total}'}  {note}")
        elif self._lines == "begin and end" and is_new:
            self.say(f"{task} ...")
        if self._lines == "begin and end" and done == total and task not in self._ended:
            self._ended.add(task)
            self.end(task)
            amount = f"{done / 1e6:.0f} MB" if unit == BYTES else f"{done} {unit}".rstrip()
            self.say(f"{task}: {amount} in {time.monotonic() - self._began[task]:.1f} s")

    def end(self, task: str) -> None:
        """Remove the bar of a task."""
        if task in self._tasks:
            self._bars.remove_task(self._tasks.pop(task))
            if not self._tasks:
                # Other code may draw bars, and two displays on one terminal would garble each other.
                self._bars.stop()

    def _draw(self, task: str, done: int, total: int | None, unit: str, note: str) -> None:
        if task in self._ended:
            return
        if task not in self._tasks:
            self._bars.start()
            self._tasks[task] = self._bars.add_task(
                task, total=total, completed=done, done_before=done, unit=unit, note=note
            )
        self._bars.update(self._tasks[task], completed=done, total=total, note=note)


def with_progress(
    items: Iterable[Item], *, description: str, total: int | None, done: int = 0, lines: Lines = "never"
) -> Iterator[Item]:
    """Yield `items`, with a progress bar on standard error if it is a terminal, and else with `lines`.

    The bar shows the number of items out of `total`, including the `done` items of an earlier run, the rate and the
    time left. Without a total, it shows the number.
    """
    with Progress(lines=lines) as progress:
        progress.update(description, done, total)
        for count, item in enumerate(items, start=done + 1):
            yield item
            progress.update(description, count, total)


@contextlib.contextmanager
def byte_progress(name: str) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Yield a progress function for downloading and unpacking the file `name`, which draws one bar per stage.

    Yields None if no bar can be drawn.
    """
    with Progress() as progress:

        def update(stage: str, done: int, total: int | None) -> None:
            progress.update(f"{stage} {name}", done, total, unit=BYTES)

        yield update if progress.draws else None
