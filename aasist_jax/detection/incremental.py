"""Score the windows of a recording that arrives in pieces, in bounded memory and with a few fixed array shapes.

`EncodedWindows` encodes the recording once, in chunks, and classifies every window from its frames. `ExactWindows`
scores every window separately. Both take 16 kHz mono in pieces of any size; the results do not depend on the sizes.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int32

from aasist_jax.models.family import FrameGeometry

Wave = Float32[np.ndarray, " samples"]
Frames = Float[np.ndarray, "f frames c"]
Encode = Callable[[Float32[np.ndarray, "1 samples"], Int32[np.ndarray, "1 2"]], Any]
Classify = Callable[[Float32[np.ndarray, "batch f frames c"]], Float32[np.ndarray, "batch 2"]]
Score = Callable[[Float32[np.ndarray, "batch samples"]], Float32[np.ndarray, "batch 2"]]
ScoreStart = Callable[[Wave], Float32[np.ndarray, "2"]]
"""Scores a recording that is shorter than a window."""

Scored = tuple[int, Float32[np.ndarray, "2"]]
"""A window: its first sample, and its logits (spoof, bona fide)."""


@runtime_checkable
class WindowScorer(Protocol):
    """Takes a recording in pieces and returns its scored windows, in order."""

    def push(self, wave: Wave) -> list[Scored]:
        """Take the next samples and return the windows that can now be scored."""
        ...

    def finish(self) -> list[Scored]:
        """End the recording and return the remaining windows."""
        ...


class FrameStream:
    """Runs the encoder over a recording that arrives in pieces, `step` frames at a time in one fixed shape.

    A chunk holds the samples of its frames, of `context` frames on either side, and the tail. Where a chunk reaches
    beyond the recording, `valid` tells the encoder which samples exist. The frames therefore equal those of one pass
    over the whole recording, up to rounding.
    """

    def __init__(self, geometry: FrameGeometry, encode: Encode, step: int) -> None:
        self._geometry, self._encode, self._step = geometry, encode, step
        self._chunk = geometry.stride * (step + 2 * geometry.context) + geometry.tail
        self._next = 0
        self._received = 0
        self._buffer = np.zeros(0, np.float32)  # ends with the last sample received
        self._origin = -geometry.stride * geometry.context  # the next chunk's first sample

    def push(self, wave: Wave) -> Iterator[Frames]:
        """Take the next samples and yield groups of `step` frames."""
        self._received += wave.size
        self._buffer = np.concatenate([self._buffer, wave])
        while self._received >= self._origin + self._chunk:
            yield self._encode_chunk()

    def finish(self) -> Iterator[Frames]:
        """End the recording and yield the remaining frames."""
        left = self._geometry.frames(self._received) - self._next
        while left > 0:
            yield self._encode_chunk()[:, :left]
            left -= self._step

    def _encode_chunk(self) -> Frames:
        begin, end = max(-self._origin, 0), min(self._received - self._origin, self._chunk)
        chunk = np.zeros((1, self._chunk), np.float32)
        chunk[0, begin:end] = self._buffer[: end - begin]
        frames = np.asarray(self._encode(chunk, np.array([[begin, end]], np.int32)))[0]
        advance = self._geometry.stride * self._step
        # The first chunk begins before the recording does.
        self._buffer = self._buffer[max(advance - begin, 0) :]
        self._origin += advance
        self._next += self._step
        context = self._geometry.context
        return frames[:, context : context + self._step]


class EncodedWindows:
    """Scores a window every `hop` frames, from the frames of one encoder pass over the recording.

    The last window begins at the last frame from which a whole window fits into the recording.
    """

    def __init__(
        self,
        geometry: FrameGeometry,
        encode: Encode,
        classify: Classify,
        score_start: ScoreStart,
        *,
        window: int,
        hop: int,
        step: int,
    ) -> None:
        """Use windows of `window` samples every `hop` frames (at most one window), encoded `step` frames at a time."""
        self._geometry, self._classify, self._window, self._hop = geometry, classify, window, hop
        self._encoder = FrameStream(geometry, encode, step)
        self._short = _ShortRecording(score_start, window)
        self._batch = -(-step // hop)
        self._width = geometry.frames(window)
        self._next = 0
        self._frames: Frames | None = None
        self._first = 0  # the frame that `_frames` begins with

    def push(self, wave: Wave) -> list[Scored]:
        """Take the next samples and return the windows that can now be scored."""
        self._short.push(wave)
        return [scored for frames in self._encoder.push(wave) for scored in self._take(frames)]

    def finish(self) -> list[Scored]:
        """End the recording and return the remaining windows."""
        if self._short.is_short:
            return self._short.finish()
        last = (self._short.received - self._window) // self._geometry.stride
        scored = [scored for frames in self._encoder.finish() for scored in self._take(frames, last)]
        if last > self._next - self._hop:
            scored += self._score([last])
        return scored

    def _take(self, frames: Frames, last: int | None = None) -> list[Scored]:
        self._frames = frames if self._frames is None else np.concatenate([self._frames, frames], axis=1)
        end = self._first + self._frames.shape[1] - self._width
        starts = list(range(self._next, (end if last is None else min(end, last)) + 1, self._hop))
        scored = self._score(starts)
        if starts:
            self._next = starts[-1] + self._hop
            # Keep the frames after the latest start: the recording's last window may begin before the next hop.
            keep = starts[-1] + 1
            self._frames, self._first = self._frames[:, keep - self._first :], keep
        return scored

    def _score(self, starts: list[int]) -> list[Scored]:
        assert self._frames is not None
        stride, scored = self._geometry.stride, []
        for i in range(0, len(starts), self._batch):
            part = starts[i : i + self._batch]
            batch = np.zeros((self._batch, self._frames.shape[0], self._width, self._frames.shape[2]), np.float32)
            for row, start in zip(batch, part, strict=False):
                row[...] = self._frames[:, start - self._first : start - self._first + self._width]
            scored += [(start * stride, row) for start, row in zip(part, self._classify(batch), strict=False)]
        return scored


class ExactWindows:
    """Scores a window every `hop` samples, each separately; the last one is aligned to the recording's end."""

    def __init__(self, score: Score, score_start: ScoreStart, *, window: int, hop: int, batch: int) -> None:
        """Use windows of `window` samples every `hop` samples (at most one window), in batches of `batch`."""
        self._score, self._window, self._hop, self._batch = score, window, hop, batch
        self._short = _ShortRecording(score_start, window)
        self._buffer = np.zeros(0, np.float32)
        self._first = 0  # the sample that `_buffer` begins with
        self._next = 0

    def push(self, wave: Wave) -> list[Scored]:
        """Take the next samples and return the windows that can now be scored."""
        self._short.push(wave)
        self._buffer = np.concatenate([self._buffer, wave])
        scored = []
        while self._next + (self._batch - 1) * self._hop + self._window <= self._short.received:
            scored += self._score_from([self._next + i * self._hop for i in range(self._batch)])
        return scored

    def finish(self) -> list[Scored]:
        """End the recording and return the remaining windows."""
        if self._short.is_short:
            return self._short.finish()
        last = self._short.received - self._window
        starts = list(range(self._next, last + 1, self._hop))
        if last > (starts[-1] if starts else self._next - self._hop):
            starts.append(last)
        return self._score_from(starts)

    def _score_from(self, starts: list[int]) -> list[Scored]:
        if not starts:
            return []
        cut = np.stack([self._buffer[start - self._first :][: self._window] for start in starts])
        scored = list(zip(starts, self._score(cut), strict=True))
        self._next = starts[-1] + self._hop
        keep = starts[-1] + 1
        self._buffer, self._first = self._buffer[keep - self._first :], keep
        return scored


class _ShortRecording:
    """Counts samples, and stores them until they fill a whole window."""

    def __init__(self, score_start: ScoreStart, window: int) -> None:
        self._score_start, self._window = score_start, window
        self._kept = np.zeros(0, np.float32)
        self.received = 0

    @property
    def is_short(self) -> bool:
        return self.received < self._window

    def push(self, wave: Wave) -> None:
        self.received += wave.size
        self._kept = np.concatenate([self._kept, wave]) if self.is_short else np.zeros(0, np.float32)

    def finish(self) -> list[Scored]:
        """Score the recording as one window, extended by the model's rule."""
        if self.received == 0:
            return []
        return [(0, self._score_start(self._kept))]
