"""What a run tells the person who watches it: bars on a terminal, plain lines elsewhere."""

import time
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

LINE_SECONDS = 10.0


class Reporter:
    """Progress on standard error; the first process of a run reports, the others are `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._last_line = 0.0

    def __enter__(self) -> "Reporter":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(self, step: int, total: int) -> None:
        """Begin to show training."""
        self._show("training", step, total, "")

    def step(self, step: int, total: int, loss: float, rate: float) -> None:
        """Show a step: loss, clips per second, time left."""
        self._show("training", step, total, f"loss {loss:.4f}  {rate:.1f} clips/s")

    def clips(self, what: str, done: int, total: int) -> None:
        """Show a pass over clips."""
        self._show(what, done, total, "")
        if done == total and what in self._tasks:
            self._bars.remove_task(self._tasks.pop(what))

    def epoch(self, epoch: int, epochs: int, figures: dict[str, Any]) -> None:
        """Report the end of an epoch."""
        rates = "  ".join(f"{k} {100 * v:.2f} %" for k, v in figures.items() if k.endswith("_eer"))
        self.say(f"epoch {epoch}/{epochs}  {rates}")

    def table(self, split: str, figures: dict[str, Any]) -> None:
        """Print the error rates of a split, attack by attack, worst first."""
        table = Table(box=box.SIMPLE, title=f"{split}: EER {100 * figures['eer']:.2f} %", title_justify="left")
        table.add_column("attack")
        table.add_column("clips", justify="right")
        table.add_column("EER %", justify="right")
        table.add_column("in training")
        for name, attack in figures["attacks"].items():
            table.add_row(name, str(attack["clips"]), f"{100 * attack['eer']:.2f}", "yes" if attack["seen"] else "no")
        for kind in ("seen", "unseen"):
            if f"eer_{kind}_attacks" in figures:
                table.add_row(f"all {kind}", "", f"{100 * figures[f'eer_{kind}_attacks']:.2f}", "")
        self.console.print(table)

    def _show(self, what: str, done: int, total: int, figures: str) -> None:
        if not self._bars.disable:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total, figures=figures)
            self._bars.update(self._tasks[what], completed=done, total=total, figures=figures)
        elif time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say(f"{what} {done}/{total}  {figures}")
