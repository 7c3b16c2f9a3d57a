"""The record of a run: every logged step and every epoch as a line of `log.jsonl` and as points on TensorBoard."""

from types import TracebackType
from typing import Any

from aasist_jax.training.reporting import Board
from aasist_jax.training.run_folder import RunFolder


class RunLog:
    """The log and the curves of a run, opened to go on behind a checkpoint; only the first process writes them.

    A context manager that closes the curves; the folder closes its log itself.

    Args:
        folder: of the run.
        step: the checkpoint's step; what the log and the curves hold of later steps was never saved and is dropped.
        evaluated_epochs: how many epochs had been evaluated when the checkpoint was saved.

    Raises:
        TrainingError: a file cannot be written; so do the methods.
    """

    def __init__(self, folder: RunFolder, step: int, evaluated_epochs: int) -> None:
        self._folder = folder
        folder.open_log(step, evaluated_epochs)
        self._board = Board(folder.tensorboard, step + 1) if folder.is_writer else None

    def add(self, entry: dict[str, Any]) -> None:
        """Log an entry that has a `step`; its floating-point numbers become points of curves by their names."""
        self._folder.log(**entry)
        if self._board is not None:
            self._board.add(entry["step"], {name: value for name, value in entry.items() if isinstance(value, float)})

    def flush(self) -> None:
        """Hand everything to the operating system, so that a checkpoint never holds a step that the log lacks."""
        if self._board is not None:
            self._board.flush()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()
