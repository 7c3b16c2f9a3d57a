"""SIGTERM and SIGINT as requests to stop, which are acted on between two steps or two batches."""

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any

from aasist_jax.training.parallel import any_host


class StopRequested(Exception):
    """A signal asked the run to stop. When `train` raises it, a checkpoint of the last step has been saved."""


class StopSignals:
    """Context in which SIGTERM and SIGINT set `requested`; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested_anywhere(self) -> bool:
        """Whether any host of the run has received a signal; all hosts must call this together."""
        return any_host(self.requested)[0]

    def stop_if_requested(self) -> None:
        """Stop if any host has received a signal; all hosts must call this together.

        Raises:
            StopRequested: a signal was received.
        """
        if self.requested_anywhere():
            raise StopRequested

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested:
            # Not `print`, because the signal may have interrupted another `print`.
            with contextlib.suppress(OSError):
                os.write(2, b"stopping after saving a checkpoint; press Ctrl-C again to stop at once\n")
        self.requested = True
