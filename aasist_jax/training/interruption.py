"""SIGTERM and SIGINT as a request to stop, which is honoured between two steps or two batches."""

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any

from aasist_jax.training.parallel import any_host


class StopRequested(Exception):
    """A signal asked the run to end. Outside `train`: its checkpoint holds every step that was taken."""


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
        """Whether a signal came to any host of the run; every host must ask at the same time."""
        return any_host(self.requested)[0]

    def stop_if_requested(self) -> None:
        """End what is under way where a signal came to any host; every host must ask at the same time.

        Raises:
            StopRequested: a signal came.
        """
        if self.requested_anywhere():
            raise StopRequested

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested:
            # Not `print`: the signal may have come in the midst of one.
            with contextlib.suppress(OSError):
                os.write(2, b"stopping behind a checkpoint; Ctrl-C once more stops at once\n")
        self.requested = True
