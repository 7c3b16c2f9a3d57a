"""Scores a recording that arrives in chunks; live scoring and the timeline of a file share this code."""

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from jaxtyping import Float32

from aasist_jax.audio.limits import DEFAULT_LIMITS, SAMPLE_RATE
from aasist_jax.audio.load import as_rate, as_samples, to_mono_16k
from aasist_jax.audio.speech import LEAST_SPEECH, SpeechActivity
from aasist_jax.detection.incremental import EncodedWindows, ExactWindows, Scored, WindowScorer
from aasist_jax.detection.timeline import Rule, Timeline, WindowScore, segments, verdict
from aasist_jax.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from aasist_jax.detection.detector import Detector

FILE_FRAMES, FILE_WINDOWS = 16, 8
"""For a file: frames encoded at once, and windows scored at once in exact mode. In live mode both are 1.

Encoding more frames at once spreads the cost of the two context frames, but takes more memory (7 MB per frame).
"""

LOUDEST = 1e6
"""A sample beyond this is no audio of full scale 1, not even 16-bit integers that were not scaled."""

BLOCK = 1 << 18
"""Samples processed at once, so that a long chunk takes no more memory than a short one."""


class Stream:
    """Scores the windows of a signal while it arrives; made by `Detector.stream`.

    The scores do not depend on how the signal is cut into chunks. A window is scored with the chunk that completes it.
    Where windows share the encoder's frames, the context of its last frame must have arrived, too; in exact mode the
    window alone is enough. Memory is bounded, whatever the length of the signal.
    """

    def __init__(
        self,
        detector: "Detector",
        sample_rate: int = SAMPLE_RATE,
        *,
        hop: float | None = None,
        exact: bool = False,
        vad: bool = False,
        live: bool = True,
    ) -> None:
        """Prepare to score.

        Args:
            detector: the model.
            sample_rate: of the chunks, in Hz.
            hop: seconds from one window to the next, at most the length of a window; rounded to whole encoder frames,
                in exact mode to samples. Default: one frame, in exact mode half a window.
            exact: encode every window separately, as `Detector.score` does. A family without frames always does.
            vad: use voice activity detection and do not score windows without speech.
            live: score every window as soon as possible. Otherwise windows are collected into batches.

        Raises:
            AudioError: a sample rate out of range.
            ConfigError: a hop out of range.
        """
        sample_rate = as_rate(sample_rate)
        DEFAULT_LIMITS.check_format("the stream", sample_rate, channels=1)
        window = detector.window
        geometry = None if exact else detector.frame_geometry
        self._window, self.exact = window, geometry is None
        if geometry is None:
            hop_samples = _hop(hop, 1, window) if hop is not None else window // 2
            self._scorer: WindowScorer = ExactWindows(
                detector.logits,
                detector.start_logits,
                window=window,
                hop=hop_samples,
                batch=1 if live else FILE_WINDOWS,
            )
        else:
            hop_samples = _hop(hop, geometry.stride, window) if hop is not None else geometry.stride
            self._scorer = EncodedWindows(
                geometry,
                detector.encode,
                detector.classify,
                detector.start_logits,
                window=window,
                hop=hop_samples // geometry.stride,
                step=1 if live else FILE_FRAMES,
            )
        self.hop = hop_samples / SAMPLE_RATE
        self._activity = SpeechActivity(detect=vad)
        self._received = 0
        self._finished = False
        self._resampler = (
            None if sample_rate == SAMPLE_RATE else soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, "float32", "HQ")
        )

    @property
    def seconds(self) -> float:
        """Seconds of the signal that have arrived so far."""
        return self._received / SAMPLE_RATE

    def push(self, chunk: Any) -> list[WindowScore]:
        """Take the next samples and return the windows that can now be scored, in order.

        Args:
            chunk: (samples,) or (samples, channels), any number of samples; int16, int32 or floating point with full
                scale 1.

        Raises:
            AudioError: wrong type or shape, NaN or infinite or far too large samples, or the stream is finished. A
                chunk that is refused leaves the stream as it was.
        """
        if self._finished:
            raise AudioError("the stream is finished; begin another for more audio")
        array = as_samples(chunk, "the chunk")
        if array.size == 0:
            return []
        wave = to_mono_16k(array, SAMPLE_RATE)  # no resampling here: only converts type and channels
        # Refused before anything remembers it, so that the chunks that follow are scored as if it had not come.
        if np.abs(wave).max() > LOUDEST:
            raise AudioError(f"the audio: samples up to {np.abs(wave).max():.3g}; scale them to [-1, 1]")
        if self._resampler is not None:
            wave = self._resampler.resample_chunk(wave)
        blocks = (wave[start : start + BLOCK] for start in range(0, wave.size, BLOCK))
        return [window for block in blocks for window in self._take(block, self._scorer.push)]

    def finish(self) -> list[WindowScore]:
        """End the signal and return the remaining windows. A signal shorter than a window is extended to fill one."""
        if self._finished:
            return []
        self._finished = True
        rest = np.zeros(0, np.float32)
        if self._resampler is not None:
            rest = self._resampler.resample_chunk(rest, last=True)
        return self._take(rest, lambda wave: self._scorer.push(wave) + self._scorer.finish())

    def _take(self, wave: Float32[np.ndarray, " samples"], score: Callable[[Any], list[Scored]]) -> list[WindowScore]:
        self._received += wave.size
        self._activity.push(wave)
        windows = [self._window_score(start, logits) for start, logits in score(wave)]
        if windows:
            self._activity.forget(round(windows[-1].start * SAMPLE_RATE))
        return windows

    def _window_score(self, start: int, logits: Float32[np.ndarray, "2"]) -> WindowScore:
        end = min(start + self._window, self._received)
        activity = self._activity.window(start, end)
        seconds = start / SAMPLE_RATE, end / SAMPLE_RATE
        if activity.is_constant:
            return WindowScore(*seconds, None, "silent")
        if activity.speech < LEAST_SPEECH:
            return WindowScore(*seconds, None, "no speech")
        spoof, bonafide = map(float, logits)
        return WindowScore(*seconds, (spoof, bonafide), "ok" if end - start == self._window else "short")


def _hop(seconds: Any, unit: int, window: int) -> int:
    """The hop in samples, a multiple of `unit`."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ConfigError(f"hop: expected seconds, got {seconds!r}")
    if not (math.isfinite(seconds) and 0 < seconds <= window / SAMPLE_RATE):
        raise ConfigError(
            f"hop: expected more than 0 and at most a window ({window / SAMPLE_RATE:g} s), got {seconds:g} s"
        )
    return min(max(round(seconds * SAMPLE_RATE / unit), 1) * unit, window // unit * unit)


def score_timeline(
    detector: "Detector",
    blocks: Iterable[Float32[np.ndarray, " samples"]],
    *,
    hop: float | None = None,
    exact: bool = False,
    vad: bool = False,
    rule: Rule | None = None,
) -> Timeline:
    """Score a recording over time; see `Stream` for the options.

    Args:
        detector: the model.
        blocks: the recording at 16 kHz mono, in blocks of any size.
        hop: seconds from one window to the next.
        exact: encode every window separately.
        vad: do not score windows without speech.
        rule: how windows become segments and a verdict; None for the default rule.
    """
    rule = rule or Rule()
    stream = Stream(detector, hop=hop, exact=exact, vad=vad, live=False)
    windows = [window for block in blocks for window in stream.push(block)]
    windows += stream.finish()
    found = segments(windows, stream.seconds, rule)
    return Timeline(
        duration=stream.seconds,
        window=detector.window / SAMPLE_RATE,
        hop=stream.hop,
        exact=stream.exact,
        model_id=detector.weights.model_id,
        rule=rule,
        windows=tuple(windows),
        segments=tuple(found),
        verdict=verdict(windows, found, rule),
    )
