"""Logs the steps and epochs of a run as lines of `log.jsonl` and as points in TensorBoard."""

from types import TracebackType
from typing import Any

from aasist_jax.training.reporting import Board
from aasist_jax.training.run_folder import RunFolder


class RunLog:
    """The log and the TensorBoard curves of a run, continued after a checkpoint. Only the first process writes them.

    A context manager that closes the TensorBoard file; `RunFolder` closes the log.

    Args:
        folder: folder of the run.
        step: step of the checkpoint; later steps in the log and the curves were not saved and are dropped.
        evaluated_epochs: number of epochs that had been evaluated when the checkpoint was saved.

    Raises:
        TrainingError: a file cannot be written; so do the methods.
    """

    def __init__(self, folder: RunFolder, step: int, evaluated_epochs: int) -> None:
        self._folder = folder
        folder.open_log(step, evaluated_epochs)
        self._board = Board(folder.tensorboard, step + 1) if folder.is_writer else None

    def add(self, entry: dict[str, Any]) -> None:
        """Log an entry that has a `step`; each floating-point value becomes a point of the curve of its name."""
        self._folder.log(**entry)
        if self._board is not None:
            self._board.add(entry["step"], {name: value for name, value in entry.items() if isinstance(value, float)})

    def flush(self) -> None:
        """Pass everything to the operating system, so that the log has every step that a checkpoint holds."""
        if self._board is not None:
            self._board.flush()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()
