"""The `ffmpeg` program in a child process that is held to limits, is given one file, and is gone when its reader is."""

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aasist_jax.errors import AudioError

if sys.platform == "linux":
    import resource

PROGRAM_VARIABLE = "AASIST_JAX_FFMPEG"
"""Environment variable that names another program than the `ffmpeg` on the path."""


@dataclass(frozen=True)
class ChildLimits:
    """Limits on one child process; the limits on what it decodes are those of `aasist_jax.audio.limits`.

    Attributes:
        memory_bytes: its data in memory. An M4A of the most packets that are read takes a third of the default.
        cpu_seconds: its processor time. Four hours of stereo AAC at 48 kHz take less than a tenth of the default.
        silent_seconds: how long it may give nothing while something is waited for.
    """

    memory_bytes: int = 1 << 29
    cpu_seconds: int = 600
    silent_seconds: float = 60.0


CHILD_LIMITS = ChildLimits()

ERROR_BYTES = 1 << 14
"""How much of what the child says is kept."""

PIECE_BYTES = 1 << 16


def find_ffmpeg(what: str) -> str:
    """The program: the one that the environment names, else `ffmpeg` on the path, else that of the extra `ffmpeg`.

    Args:
        what: what it is needed for, as the beginning of a message.

    Raises:
        AudioError: there is none.
    """
    named = os.environ.get(PROGRAM_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise AudioError(f"{what} needs ffmpeg, and {PROGRAM_VARIABLE} is {named!r}, which is no program")
        return found
    found = shutil.which("ffmpeg")
    if found is not None:
        return found
    try:
        import imageio_ffmpeg

        # It looks for the binary in its own wheel; it downloads nothing.
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise AudioError(
            f"{what} needs the program ffmpeg; install it (apt install ffmpeg, or "
            "pip install 'aasist-jax[ffmpeg]'), or convert the recording, for example to FLAC"
        ) from None


class FfmpegProcess:
    """A running `ffmpeg` whose standard output is read, until it is closed.

    It is started without a shell, in a process group of its own, with nothing on its standard input and next to
    nothing in its environment. It may not write files.
    """

    def __init__(self, program: str, arguments: Sequence[str], source: int, name: str, limits: ChildLimits) -> None:
        """Start it.

        Args:
            program: path of the program.
            arguments: what follows it.
            source: the descriptor that the child inherits, under the same number.
            name: the recording, for messages.
            limits: what it is held to.
        """
        self.limits = limits
        self._name = name
        self._said = b""
        kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
        self._child = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=(source,),
            process_group=0,
            env={"LC_ALL": "C", **{variable: os.environ[variable] for variable in kept if variable in os.environ}},
        )
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._samples, self._messages = self._child.stdout.fileno(), self._child.stderr.fileno()
        self._selector = selectors.DefaultSelector()
        try:
            for stream in (self._samples, self._messages):
                self._selector.register(stream, selectors.EVENT_READ)
            _limit(self._child.pid, limits)
        except BaseException:
            self.close()
            raise

    def read(self, size: int) -> bytearray:
        """The next `size` bytes of its output; fewer at the end alone.

        Raises:
            AudioError: nothing comes for too long.
        """
        content = bytearray()
        while len(content) < size and (piece := self._next(size - len(content))):
            content += piece
        return content

    def finish(self) -> tuple[int, str]:
        """Its exit status, negative for a signal, and what it said; once its output has been read to the end.

        Raises:
            AudioError: it does not end.
        """
        while self._next(PIECE_BYTES):
            pass
        while self._messages in self._selector.get_map():
            self._wait(time.monotonic() + self.limits.silent_seconds)
        try:
            status = self._child.wait(self.limits.silent_seconds)
        except subprocess.TimeoutExpired:
            raise self._stuck() from None
        return status, self._said.decode("utf-8", "replace")

    def close(self) -> None:
        """Kill it and what it started, wherever it is, and close the pipes."""
        if self._child.returncode is None:
            try:
                os.killpg(self._child.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._child.kill()
            self._child.wait()
        self._selector.close()
        for pipe in (self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def _next(self, size: int) -> bytes:
        """Some bytes of its output, or none at the end."""
        deadline = time.monotonic() + self.limits.silent_seconds
        while self._samples in self._selector.get_map():
            if self._wait(deadline):
                piece = os.read(self._samples, min(size, PIECE_BYTES))
                if piece:
                    return piece
                self._selector.unregister(self._samples)
        return b""

    def _wait(self, deadline: float) -> bool:
        """Wait for output, and say whether there is some; keep what it says meanwhile."""
        ready = {key.fd for key, _ in self._selector.select(max(0.0, deadline - time.monotonic()))}
        if self._messages in ready:
            said = os.read(self._messages, ERROR_BYTES)
            self._said = (self._said + said)[:ERROR_BYTES]
            if not said:
                self._selector.unregister(self._messages)
        if not ready or (self._samples not in ready and time.monotonic() > deadline):
            raise self._stuck()
        return self._samples in ready

    def _stuck(self) -> AudioError:
        return AudioError(
            f"{self._name}: ffmpeg gave nothing for {self.limits.silent_seconds:g} s and was stopped; "
            "convert the recording, for example to FLAC"
        )


def _limit(pid: int, limits: ChildLimits) -> None:
    """Hold a child that has just started to the limits: from outside, since code in a fork of this process could hang.

    Only Linux can do so; elsewhere the limits on time and on what is read remain.
    """
    if sys.platform == "linux":
        for kind, most in (
            (resource.RLIMIT_DATA, limits.memory_bytes),
            (resource.RLIMIT_CPU, limits.cpu_seconds),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
        ):
            try:
                _, ceiling = resource.prlimit(pid, kind)
                limit = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
                resource.prlimit(pid, kind, (limit, limit))
            except ProcessLookupError:
                return  # it has ended


def reason(said: str) -> str:
    """The first error that FFmpeg told, as one short printable line without the names of its parts."""
    lines = [line for line in said.splitlines() if "[error]" in line or "[fatal]" in line] or said.splitlines()
    first = re.sub(r"^(\[[^\]]*\] )*", "", lines[0] if lines else "no reason given").strip().rstrip(".")
    return "".join(letter if letter.isprintable() else "?" for letter in first)[:200]
