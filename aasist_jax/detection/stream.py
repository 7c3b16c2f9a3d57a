"""Judges a recording that arrives in chunks; live streams and the timeline of a file share this code."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from jaxtyping import Float32

from aasist_jax.audio.limits import DEFAULT_LIMITS, SAMPLE_RATE
from aasist_jax.audio.load import as_rate, as_samples, to_mono_16k
from aasist_jax.detection.cutting import Cut, Cutter, not_heard
from aasist_jax.detection.incremental import EncodedWindows, ExactWindows, Scored, WindowScorer
from aasist_jax.detection.judging import judge_recording, window_scores
from aasist_jax.detection.result import Score, Timeline
from aasist_jax.detection.timeline import JudgedWindow, WindowScore, judge_windows, segments
from aasist_jax.detection.verdict import DecisionRule
from aasist_jax.errors import AudioError, ConfigError
from aasist_jax.models.family import FrameGeometry

if TYPE_CHECKING:
    from aasist_jax.detection.detector import Detector

FILE_FRAMES, FILE_WINDOWS = 16, 8
"""For a file: frames encoded at once, and windows scored at once. In live mode both are 1.

Encoding more frames at once spreads the cost of the two context frames, but takes more memory (7 MB per frame).
"""

LOUDEST = 1e6
"""A sample beyond this is no audio of full scale 1, not even 16-bit integers that were not scaled."""

BLOCK = 1 << 18
"""Samples processed at once, so that a long chunk takes no more memory than a short one."""


class Stream:
    """Judges a signal while it arrives; made by `Detector.stream`.

    The windows of the verdict lie end to end, and are scored exactly as `Detector.score` does. With a `hop`, further
    windows follow one another more closely and show where something happens; the verdict does not rest on them.

    Nothing depends on how the signal is cut into chunks. A window is scored with the chunk that completes it. The
    samples of scored windows are forgotten; of each window a few numbers are kept.
    """

    def __init__(
        self,
        detector: "Detector",
        sample_rate: int = SAMPLE_RATE,
        *,
        hop: float | None = None,
        exact: bool = False,
        rule: DecisionRule | None = None,
        live: bool = True,
    ) -> None:
        """Prepare to judge.

        Args:
            detector: the model.
            sample_rate: of the chunks, in Hz.
            hop: seconds from one window to the next, at most the length of a window; rounded to whole encoder frames,
                with `exact` to samples. None: the windows of the verdict and no others.
            exact: compute every window of a finer hop by itself. Otherwise, for a family with frames, the encoder runs
                once over the recording, and windows share its frames.
            rule: the prior of synthetic speech, and how sure a label must be.
            live: score every window as soon as possible. Otherwise windows are collected into batches.

        Raises:
            AudioError: a sample rate out of range.
            ConfigError: a hop out of range.
        """
        sample_rate = as_rate(sample_rate)
        DEFAULT_LIMITS.check_format("the stream", sample_rate, channels=1)
        self._detector, self._live = detector, live
        self._window = window = detector.window
        self.rule = rule or DecisionRule()
        self._cutter = Cutter(detector.window_rule)
        self._cuts: list[Cut] = []
        self._values: list[np.ndarray] = []
        self._waiting: list[Cut] = []
        self._fine_windows: list[WindowScore] = []
        geometry = None if exact else detector.frame_geometry
        self.exact = hop is None or geometry is None
        hop_samples = window if hop is None else _hop(hop, 1 if geometry is None else geometry.stride, window)
        self._fine = None if hop is None else _fine_scorer(detector, geometry, hop_samples, live=live)
        self.hop = hop_samples / SAMPLE_RATE
        self._received, self._finished = 0, False
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
        return [window for block in blocks for window in self._take(block)]

    def finish(self) -> list[WindowScore]:
        """End the signal and return the remaining windows. A signal shorter than a window is extended to fill one."""
        if self._finished:
            return []
        rest = np.zeros(0, np.float32)
        if self._resampler is not None:
            rest = self._resampler.resample_chunk(rest, last=True)
        windows = self._take(rest)
        self._finished = True
        fine = [] if self._fine is None else self._with_fine(self._fine.finish())
        return windows + self._judged(self._cutter.finish(), to_the_end=True) + fine

    def result(self, *, is_damaged: bool = False) -> Score:
        """The result of what was heard so far; after `finish`, of the whole signal.

        Args:
            is_damaged: whether the file that the signal comes from is damaged.
        """
        self._score_waiting()
        values = np.concatenate(self._values) if self._values else np.empty((0, 2), np.float32)
        facts = self._cutter.facts()
        return judge_recording(
            self._cuts,
            values,
            facts=facts,
            condition=self._cutter.condition(facts, is_damaged=is_damaged),
            weights_id=self._detector.weights.weights_id,
            calibration=self._detector.calibration,
            rule=self.rule,
        )

    def judged_windows(self, result: Score) -> list[JudgedWindow]:
        """All windows so far (of the finer hop, if there is one) with their labels, given a `result`."""
        assert result.verdict is not None
        windows = result.windows if self._fine is None else self._fine_windows
        return judge_windows(windows, result.windows, result.verdict)

    def _take(self, wave: Float32[np.ndarray, " samples"]) -> list[WindowScore]:
        self._received += wave.size
        cuts = self._cutter.push(wave)
        fine = [] if self._fine is None else self._with_fine(self._fine.push(wave))
        return self._judged(cuts) + fine

    def _judged(self, cuts: list[Cut], *, to_the_end: bool = False) -> list[WindowScore]:
        """Score windows of the verdict, in batches unless live; return those that are new unless a hop has others."""
        self._waiting += cuts
        if not (self._live or to_the_end or len(self._waiting) >= FILE_WINDOWS):
            return []
        windows = self._score_waiting()
        return windows if self._fine is None else []

    def _score_waiting(self) -> list[WindowScore]:
        cuts, self._waiting = self._waiting, []
        if not cuts:
            return []
        values = self._detector.read_out(cuts, "the audio")
        if len(values):
            self._values.append(values)
        calibration = self._detector.calibration
        llrs = None if calibration is None else calibration.llrs(values[:, 1])
        # The samples are no longer needed.
        self._cuts += [Cut(cut.start, cut.end, cut.status) for cut in cuts]
        return list(window_scores(cuts, values, llrs))

    def _with_fine(self, scored: Iterable[Scored]) -> list[WindowScore]:
        windows = [self._fine_window(start, logits) for start, logits in scored]
        self._fine_windows += windows
        return windows

    def _fine_window(self, start: int, logits: Float32[np.ndarray, "2"]) -> WindowScore:
        end = min(start + self._window, self._received)
        seconds = start / SAMPLE_RATE, end / SAMPLE_RATE
        if status := not_heard(self._cutter.activity(start, end)):
            return WindowScore(*seconds, None, status)
        spoof, bonafide = map(float, logits)
        calibration = self._detector.calibration
        llr = None if calibration is None else float(calibration.llrs(np.array([bonafide]))[0])
        return WindowScore(*seconds, (spoof, bonafide), "ok" if end - start == self._window else "short", llr)


def _fine_scorer(detector: "Detector", geometry: FrameGeometry | None, hop: int, *, live: bool) -> WindowScorer:
    """What scores the windows of a finer hop: from the frames of the whole, or each by itself without a geometry."""
    if geometry is None:
        batch = 1 if live else FILE_WINDOWS
        return ExactWindows(detector.logits, detector.start_logits, window=detector.window, hop=hop, batch=batch)
    return EncodedWindows(
        geometry,
        detector.encode,
        detector.classify,
        detector.start_logits,
        window=detector.window,
        hop=hop // geometry.stride,
        step=1 if live else FILE_FRAMES,
    )


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
    rule: DecisionRule | None = None,
    is_damaged: bool = False,
) -> Timeline:
    """Judge a recording over time; see `Stream` for the options.

    Args:
        detector: the model.
        blocks: the recording at 16 kHz mono, in blocks of any size.
        hop: seconds from one window to the next; None: the windows of the verdict.
        exact: compute every window of a finer hop by itself.
        rule: the prior of synthetic speech, and how sure a label must be.
        is_damaged: whether the file is damaged.
    """
    stream = Stream(detector, hop=hop, exact=exact, rule=rule, live=False)
    for block in blocks:
        stream.push(block)
    stream.finish()
    score = stream.result(is_damaged=is_damaged)
    judged = stream.judged_windows(score)
    return Timeline(
        score=score,
        window=detector.window / SAMPLE_RATE,
        hop=stream.hop,
        exact=stream.exact,
        windows=tuple(each.window for each in judged),
        segments=tuple(segments(judged, score.seconds)),
    )
