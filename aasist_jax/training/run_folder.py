"""The folder of a run: its files, and the JSON-lines log.

config.json       the resolved configuration
environment.json  package versions, git revision, seeds, devices
log.jsonl         one line per logged step and per epoch
scores/           scores of dev after every epoch, and the final scores
checkpoints/      see `checkpoints/store.py`
tensorboard/      the values of the log, for TensorBoard
weights/          the final model as released: model.safetensors and config.json
summary.json      results; written last, so it marks a complete run
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from aasist_jax.errors import TrainingError
from aasist_jax.runtime.files import remove_unfinished, write_text


class RunFolder:
    """The paths of a run, and methods for its files, which only the first process writes."""

    def __init__(self, root: str | os.PathLike[str], *, is_writer: bool) -> None:
        self.root = Path(root)
        self.is_writer = is_writer
        self.checkpoints = self.root / "checkpoints"
        self.scores = self.root / "scores"
        self.weights = self.root / "weights"
        self.summary = self.root / "summary.json"
        self.tensorboard = self.root / "tensorboard"
        self._log_path = self.root / "log.jsonl"
        self._log: TextIO | None = None
        if is_writer:
            try:
                self.scores.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise TrainingError(f"{root}: cannot be used as a run folder ({error.strerror})") from None

    def read_json(self, name: str) -> Any:
        """Read a JSON file that this class wrote; None if it does not exist.

        Raises:
            TrainingError: the file cannot be read.
        """
        path = self.root / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: cannot be read ({error}); remove it, or give another --output") from None

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file atomically."""
        if not self.is_writer:
            return
        with writing(self.root / name):
            write_text(self.root / name, json.dumps(value, indent=2) + "\n")

    def open_log(self, step: int, epoch: int) -> None:
        """Open the log to continue after `step` and the evaluation of `epoch`; later lines are removed.

        So are the temporary files of a run that was killed.
        """
        if not self.is_writer:
            return
        with writing(self.root):
            remove_unfinished(self.root)
        kept = [line for line in self._lines() if _is_before(line, step, epoch)]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        with writing(self._log_path):
            write_text(self._log_path, text)
            self._log = self._log_path.open("a", encoding="utf-8")

    def log(self, **entry: Any) -> None:
        """Append a line to the log."""
        if self._log is None:
            return
        with writing(self._log_path):
            self._log.write(json.dumps(entry) + "\n")
            self._log.flush()

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            # Closing tries to write once more; a failed write has already been reported.
            with contextlib.suppress(OSError):
                self._log.close()

    def _lines(self) -> list[dict[str, Any]]:
        if not self._log_path.exists():
            return []
        lines = []
        for text in self._log_path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                # A killed run may leave an incomplete line.
                continue
        return lines


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write a file of the run into a one-line error.

    Raises:
        TrainingError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be written ({error.strerror}); start again once that is mended, "
            "the last good checkpoint is intact"
        ) from error


def _is_before(line: Mapping[str, Any], step: int, epoch: int) -> bool:
    if "dev_eer" in line:
        return bool(line["epoch"] <= epoch)
    return bool(line["step"] <= step)
