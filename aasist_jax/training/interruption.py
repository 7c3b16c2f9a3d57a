"""SIGTERM and SIGINT as a request to stop at the next step."""

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any


class StopRequested(Exception):
    """The run has saved a checkpoint and ends because a signal asked it to."""


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

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested:
            # Not `print`: the signal may have come in the midst of one.
            with contextlib.suppress(OSError):
                os.write(2, b"stopping behind a checkpoint; Ctrl-C once more stops at once\n")
        self.requested = True
