"""Reports the progress of a run: bars on a terminal, plain lines elsewhere, and TensorBoard files."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from aasist_jax.runtime.progress import Progress
from aasist_jax.training.run_folder import writing


class Reporter:
    """Shows progress on standard error. Only the first process of a run reports; the others are `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._progress = Progress(lines="now and then", quiet=quiet)

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.__exit__(*error)

    def say(self, text: str) -> None:
        """Print a line."""
        self._progress.say(text)

    def start(self, step: int, total: int) -> None:
        """Begin to show the progress of training."""
        self._progress.update("training", step, total, unit="steps")

    def step(self, step: int, total: int, loss: float, rate: float | None) -> None:
        """Show a step: the loss, the time left, and clips per second if known."""
        digits = ".1f" if rate is None or rate >= 1 else ".2g"
        speed = "" if rate is None else f"  {rate:{digits}} clips/s"
        self._progress.update("training", step, total, unit="steps", note=f"loss {loss:.4f}{speed}")

    def clips(self, what: str, done: int, total: int) -> None:
        """Show the progress of a pass over clips."""
        self._progress.update(what, done, total, unit="clips")
        if done == total:
            self._progress.end(what)

    def epoch(self, epoch: int, epochs: int, results: dict[str, Any]) -> None:
        """Report the end of an epoch."""
        rates = "  ".join(f"{k} {100 * v:.2f} %" for k, v in results.items() if k.endswith("_eer"))
        self.say(f"epoch {epoch}/{epochs}  {rates}")

    def table(self, title: str, results: dict[str, Any]) -> None:
        """Print the error rates of a split, attack by attack, worst first."""
        table = Table(box=box.SIMPLE, title=f"{title}: EER {100 * results['eer']:.2f} %", title_justify="left")
        table.add_column("attack")
        table.add_column("clips", justify="right")
        table.add_column("EER %", justify="right")
        table.add_column("in training")
        for name, attack in results["attacks"].items():
            table.add_row(name, str(attack["clips"]), f"{100 * attack['eer']:.2f}", "yes" if attack["seen"] else "no")
        for kind in ("seen", "unseen"):
            if f"eer_{kind}_attacks" in results:
                table.add_row(f"all {kind}", "", f"{100 * results[f'eer_{kind}_attacks']:.2f}", "")
        self._progress.console.print(table)


class Board:
    """A TensorBoard event file, written by the calling thread.

    tensorboardX's `SummaryWriter` writes in another thread. Its queue is lost when the run is killed, and if the disk
    is full, that thread dies and the run waits for it forever.

    Args:
        folder: created if it is missing; every start of a run adds a file.
        first_step: TensorBoard ignores this step and later ones in files of earlier starts.

    Raises:
        TrainingError: the file cannot be written; so do the methods.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self._folder = folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._events = EventsWriter(str(folder / "events"))
        self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))
        self.flush()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to the curve of each name."""
        for name, value in values.items():
            self._write(Event(step=step, summary=scalar(name, value)))

    def flush(self) -> None:
        """Pass everything to the operating system, so that it is not lost if the run is killed."""
        with writing(self._folder):
            self._events.flush()

    def close(self) -> None:
        """Flush and close; errors are ignored because a failed write has already been reported."""
        with contextlib.suppress(OSError):
            self._events.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with writing(self._folder):
            self._events.write_event(event)
