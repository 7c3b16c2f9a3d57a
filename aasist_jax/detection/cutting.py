"""Cuts a recording that arrives in pieces into the windows that its verdict rests on, and gathers its facts.

Windows of the model's length lie end to end from the first sample; one more, aligned to the end, covers the rest. A
window without enough speech, or that never changes, is not heard. Files, arrays and live streams are all cut here.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.condition import CLIPPED_SHARE, EDGE, SHORT_SECONDS, STEP, Condition
from aasist_jax.audio.facts import SignalFacts, SignalMeter
from aasist_jax.audio.speech import LEAST_SPEECH, Activity, SpeechActivity
from aasist_jax.models.family import Window

WindowStatus = Literal["ok", "short", "silent", "no speech"]


NOT_HEARD = ("silent", "no speech")

KEPT = 1 << 19
"""Samples before the last window whose speech can still be asked for, by windows of a finer hop that come later."""


@dataclass(frozen=True)
class Cut:
    """A window of a recording.

    Attributes:
        start: its first sample.
        end: the sample after its last; `end - start` is less than a window for a recording that is shorter than one.
        status: `ok`; `short` for a recording shorter than a window; `silent` and `no speech`, which are not heard.
        wave: float32 (samples of a window,), extended by the model's rule where it is short; None if it is not heard.
        length: valid samples, for a model without fixed windows; None otherwise.
    """

    start: int
    end: int
    status: WindowStatus
    wave: Float32[np.ndarray, " window"] | None = None
    length: int | None = None


class Cutter:
    """Takes a recording at 16 kHz in pieces of any size; what it returns does not depend on the sizes."""

    def __init__(self, rule: Window) -> None:
        self._rule = rule
        self._speech = SpeechActivity()
        self._meter = SignalMeter()
        self._range = _Range()
        self._waiting: list[np.ndarray] = []
        self._kept = np.zeros(0, np.float32)
        """The last whole window, which the aligned one overlaps."""
        self.samples = 0
        self._next = 0

    def push(self, wave: Float32[np.ndarray, " samples"]) -> list[Cut]:
        """Take the next samples and return the windows that are complete."""
        self._speech.push(wave)
        self._meter.push(wave)
        self._range.push(wave)
        self.samples += wave.size
        self._waiting.append(wave)
        size, cuts = self._rule.samples, []
        if self.samples - self._next < size:
            return []
        wave = np.concatenate(self._waiting)
        while wave.size >= size:
            self._kept, wave = wave[:size], wave[size:]
            cuts.append(self._cut(self._next, self._kept))
            self._next += size
        self._waiting = [wave]
        self._speech.forget(self._next - size - KEPT)
        return cuts

    def finish(self) -> list[Cut]:
        """End the recording and return the last window, if there are samples that no window has."""
        wave = np.concatenate([np.zeros(0, np.float32), *self._waiting])
        if wave.size == 0:
            return []
        if self._next == 0:
            return [self._cut(0, wave)]
        aligned = np.concatenate([self._kept, wave])[-self._rule.samples :]
        return [self._cut(self.samples - self._rule.samples, aligned)]

    def activity(self, start: int, end: int) -> Activity:
        """What there is from sample `start` to `end` - 1, no earlier than the last window."""
        return self._speech.window(start, end)

    def facts(self) -> SignalFacts:
        """The facts of what has arrived so far."""
        return self._meter.facts(self._speech.speech_seconds, self._speech.acoustics)

    def condition(self, facts: SignalFacts, *, is_damaged: bool) -> Condition:
        """The condition of what has arrived so far, given its facts: see `aasist_jax.audio.condition`."""
        if self._range.is_constant:
            return "silent" if self._range.is_silent else "constant"
        if is_damaged:
            return "damaged"
        if facts.seconds < SHORT_SECONDS:
            return "short"
        return "clipped" if facts.clipped_share >= CLIPPED_SHARE else "ok"

    def _cut(self, start: int, wave: np.ndarray) -> Cut:
        end = start + wave.size
        activity = self._speech.window(start, end)
        if status := not_heard(activity):
            return Cut(start, end, status)
        window, length = self._rule.first(wave)
        return Cut(start, end, "ok" if wave.size == self._rule.samples else "short", window, length)


def not_heard(activity: Activity) -> Literal["silent", "no speech"] | None:
    """Why a window is not heard; None if it is."""
    if activity.is_constant:
        return "silent"
    return "no speech" if activity.speech < LEAST_SPEECH else None


class _Range:
    """Lowest and highest sample, both ends of the recording left out: resampling a constant rings there."""

    def __init__(self) -> None:
        self._samples = 0
        self._low, self._high = np.inf, -np.inf
        self._edge = np.zeros(0, np.float32)
        self._all = np.inf, -np.inf

    def push(self, wave: np.ndarray) -> None:
        if wave.size == 0:
            return
        self._all = min(self._all[0], float(wave.min())), max(self._all[1], float(wave.max()))
        # The last EDGE samples wait: they may be the recording's end.
        joined = np.concatenate([self._edge, wave])
        skip = max(EDGE - max(self._samples - self._edge.size, 0), 0)
        self._samples += wave.size
        inner, self._edge = joined[:-EDGE], joined[-EDGE:]
        if inner[skip:].size:
            inner = inner[skip:]
            self._low, self._high = min(self._low, float(inner.min())), max(self._high, float(inner.max()))

    @property
    def is_constant(self) -> bool:
        low, high = self._ends
        return self._samples > 0 and high - low <= 2 * STEP

    @property
    def is_silent(self) -> bool:
        low, high = self._ends
        return max(-low, high) <= STEP

    @property
    def _ends(self) -> tuple[float, float]:
        return (self._low, self._high) if self._samples >= 4 * EDGE else self._all
