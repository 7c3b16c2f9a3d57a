"""The Detector: is this voice a human's or a machine's?"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32

from aasist_jax.audio.condition import SHORT_SECONDS, Condition, condition
from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import as_rate, as_samples, iter_audio, load_audio, load_start, to_mono_16k
from aasist_jax.audio.source import is_source, source_name
from aasist_jax.audio.windows import all_windows, first_window
from aasist_jax.calibration.llr import Calibration, load_calibration, probability_of_spoof
from aasist_jax.detection.stream import Stream, score_timeline
from aasist_jax.detection.timeline import Rule, Timeline
from aasist_jax.errors import AudioError
from aasist_jax.models.aasist.explain import Explanation, Observe, explain, observer
from aasist_jax.models.family import FrameGeometry, architecture_of, build_model, model_logits
from aasist_jax.weights.folder import LABELS, Weights, load_weights
from aasist_jax.weights.published import find_weights

CALIBRATION_FILE = "calibration.json"
BATCH_SIZE = 8

Windows = Literal["first", "all"]


@dataclass(frozen=True)
class Score:
    """What a Detector says of one recording.

    Attributes:
        label: `bonafide` or `spoof`, whichever logit is larger; None where there is nothing to judge.
        score: the published score, the raw logit of bona fide: higher is more human. It is no likelihood ratio. None
            as above. With several windows, the mean over them.
        logits: the logits (spoof, bona fide); with several windows, the mean. None as above.
        duration: seconds of the recording.
        status: what `condition` says of what was to be scored, the first window or all: `ok`; `short` for less than
            0.5 s and `clipped` for heavy clipping, scored but hardly reliable; `silent` for digital silence and
            `constant` for a DC line, which are not scored.
        model_id: the model that scored it.
        window_scores: the score of every window, in order.
        llr: the score as a log-likelihood ratio, bona fide over spoof, natural log; None where the weights
            folder has no calibration.
    """

    label: str | None
    score: float | None
    logits: tuple[float, float] | None
    duration: float
    status: Condition
    model_id: str
    window_scores: tuple[float, ...]
    llr: float | None = None

    def probability_of_spoof(self, p_spoof: float) -> float | None:
        """Posterior probability of a spoof at the prior `p_spoof`; None where there is no `llr`."""
        if self.llr is None:
            return None
        return float(probability_of_spoof(np.array([self.llr]), p_spoof)[0])


@dataclass(frozen=True)
class Prepared:
    """A recording that was decoded and cut, ready for the model.

    Attributes:
        name: how messages call it.
        windows: float32 (windows, samples) at 16 kHz; no windows where there is nothing to judge.
        duration: seconds of the recording.
        status: as in `Score`.
    """

    name: str
    windows: Float32[np.ndarray, "windows samples"]
    duration: float
    status: Condition


class Detector:
    """A model with its weights, ready to score.

    Float32 arithmetic is done in full float32 on every backend (no TF32), so that scores are those of the
    reference to 2e-5.
    """

    def __init__(self, weights: Weights, *, dtype: Any = jnp.float32, calibration: Calibration | None = None) -> None:
        """Take weights that `load_weights` read; `dtype` is the type computed in (float32, bfloat16)."""
        self.weights = weights
        self.calibration = calibration
        self.model = model = build_model(weights.config, dtype=dtype)
        self.variables = variables = jax.device_put(jax.tree.map(_as_float32, weights.variables))

        self._logits = jax.jit(lambda wave: model_logits(model, variables, wave))
        self._encode = jax.jit(lambda wave, valid: model.apply(variables, wave, valid, method="encode"))
        self._classify = jax.jit(lambda frames: model.apply(variables, frames, method="classify")[1])

    @classmethod
    def from_pretrained(
        cls, weights: str | PathLike[str], *, download: bool = False, dtype: Any = jnp.float32
    ) -> "Detector":
        """Load weights: a folder, published weights by name, or a repository of the Hugging Face Hub.

        A `calibration.json` beside the weights, as `aasist-jax calibrate` writes it, turns scores into log-likelihood
        ratios as well.

        Args:
            weights: the path of a weights folder, as `aasist-jax fetch-weights`, `convert` and `train` write it; the
                name of published weights, which `aasist-jax models` lists; or `hf://owner/name[@revision]`.
            download: fetch published weights that have not been fetched before.
            dtype: the type computed in (float32, bfloat16).

        Raises:
            WeightsError: no such weights, or not fetched yet: the message says from where, and how large they are.
        """
        folder = find_weights(weights, download=download)
        path = folder / CALIBRATION_FILE
        calibration = load_calibration(path) if path.is_file() else None
        return cls(load_weights(folder), dtype=dtype, calibration=calibration)

    @property
    def window(self) -> int:
        """Samples of a window at 16 kHz."""
        return int(self.weights.config.nb_samp)

    @property
    def frame_geometry(self) -> FrameGeometry | None:
        """How the encoder's frames lie on a recording; None for an architecture that has none."""
        geometry = architecture_of(self.weights.config).frame_geometry
        return None if geometry is None else geometry(self.weights.config)

    def encode(
        self, wave: Float32[np.ndarray, "batch samples"], valid: Int32[np.ndarray, "batch 2"]
    ) -> Float32[np.ndarray, "batch f frames c"]:
        """Encode pieces of recordings, of which the samples `valid` are there (see `Architecture.frame_geometry`)."""
        with jax.default_matmul_precision("highest"):
            return np.asarray(self._encode(wave, valid), np.float32)

    def classify(self, frames: Float32[np.ndarray, "batch f frames c"]) -> Float32[np.ndarray, "batch 2"]:
        """Judge windows by their frames, as `encode` gives them.

        Raises:
            AudioError: the logits are not finite.
        """
        with jax.default_matmul_precision("highest"):
            return _finite(np.asarray(self._classify(frames)), "the audio")

    def logits(self, waves: Any) -> Float32[np.ndarray, "batch 2"]:
        """Score waveforms at 16 kHz, full scale 1.

        Args:
            waves: float32 (batch, samples); any length that the model can take.

        Returns:
            (batch, 2), index 0 spoof, index 1 bona fide.

        Raises:
            AudioError: another shape or type, too few samples, NaN or infinity.
        """
        waves = as_samples(waves, "waves")
        if waves.ndim != 2 or waves.dtype != np.float32:
            raise AudioError(
                f"waves: expected float32 of shape (batch, samples), got {waves.dtype} of shape {waves.shape}"
            )
        shortest = self.weights.config.shortest_input
        if waves.shape[1] < shortest:
            raise AudioError(f"waves: {waves.shape[1]} samples; the model takes at least {shortest}")
        if not np.isfinite(waves).all():
            raise AudioError("waves: NaN or infinite samples; mend the audio before scoring it")
        return self._finite_logits(waves, "waves")

    def _finite_logits(self, waves: Float32[np.ndarray, "batch samples"], name: str) -> Float32[np.ndarray, "batch 2"]:
        parts = [self.batch_logits(padded)[:count] for padded, count in _fixed_batches(waves, BATCH_SIZE)]
        return _finite(np.concatenate(parts) if parts else np.empty((0, 2), np.float32), name)

    def stream(
        self, sample_rate: int = SAMPLE_RATE, *, hop: float | None = None, exact: bool = False, vad: bool = False
    ) -> Stream:
        """Begin to score a signal as it comes; see `Stream` for the options.

        stream = detector.stream(48_000)
        for chunk in microphone:
            for window in stream.push(chunk): ...
        stream.finish()
        """
        return Stream(self, sample_rate, hop=hop, exact=exact, vad=vad)

    def timeline(
        self,
        audio: Any,
        *,
        hop: float | None = None,
        exact: bool = False,
        vad: bool = False,
        rule: Rule | None = None,
        channel: int | None = None,
    ) -> Timeline:
        """Score one recording over time: windows, segments and a verdict; see `Stream` for the options.

        `audio` and `channel` are what `score` takes.
        """
        is_file = is_source(audio)
        blocks = iter_audio(audio, channel=channel) if is_file else [_waveform(audio, None, channel)[0]]
        return score_timeline(self, blocks, hop=hop, exact=exact, vad=vad, rule=rule)

    def batch_logits(self, waves: Float32[np.ndarray, "batch samples"]) -> Float32[np.ndarray, "batch 2"]:
        """Run the model on one batch as it is, unchecked; each shape is compiled once.

        A row's logits do not depend on what the other rows hold, nor on its place among them.
        """
        with jax.default_matmul_precision("highest"):
            return np.asarray(self._logits(waves))

    def score(self, audio: Any, *, windows: Windows = "first", channel: int | None = None) -> Score:
        """Score one recording.

        Args:
            audio: a path, a binary file object, or `(array, sample_rate)` with the array (samples,) or
                (samples, channels).
            windows: `first` is the published rule: the first window alone, a shorter clip repeated to fill it.
                `all` scores every window, the last one anchored to the end, and takes the mean. A recording is decoded
                to its end in both cases, so that a truncated one is an error.
            channel: the channel to score, from 0; default: the mean of all. On a stereo call each is one speaker.

        Raises:
            AudioError: one line that names the input and the reason: no such file, not audio, NaN, no sample
                rate, ...
        """
        prepared = self.prepare(audio, windows=windows, channel=channel)
        return self.judge(prepared, self._finite_logits(prepared.windows, prepared.name))

    def prepare(self, audio: Any, *, windows: Windows = "first", channel: int | None = None) -> Prepared:
        """Do the part of `score` that needs no model: decode, check, cut into windows. Safe to call in threads.

        Raises:
            AudioError: as `score`.
        """
        if windows not in ("first", "all"):
            raise AudioError(f"windows: expected 'first' or 'all', got {windows!r}")
        name = source_name(audio) if is_source(audio) else "the audio"
        # Whether a recording is short cannot be told from less of it.
        start = None if windows == "all" else max(self.window, int(SHORT_SECONDS * SAMPLE_RATE))
        wave, length = _waveform(audio, start, channel)
        duration = length / SAMPLE_RATE
        status = condition(wave)
        if status in ("silent", "constant"):
            return Prepared(name, np.empty((0, self.window), np.float32), duration, status)
        cut = all_windows(wave, self.window) if windows == "all" else first_window(wave, self.window)[np.newaxis]
        return Prepared(name, cut, duration, status)

    def judge(self, prepared: Prepared, logits: Float32[np.ndarray, "windows 2"]) -> Score:
        """Do the part of `score` behind the model: from the logits of all windows to a result.

        Raises:
            AudioError: the logits are not finite.
        """
        model_id = self.weights.model_id
        if not len(prepared.windows):
            return Score(None, None, None, prepared.duration, prepared.status, model_id, ())
        _finite(logits, prepared.name)
        spoof, bonafide = (float(x) for x in logits.mean(axis=0, dtype=np.float64))
        return Score(
            label=LABELS[int(bonafide > spoof)],
            score=bonafide,
            logits=(spoof, bonafide),
            duration=prepared.duration,
            status=prepared.status,
            model_id=model_id,
            window_scores=tuple(float(x) for x in logits[:, LABELS.index("bonafide")]),
            llr=None if self.calibration is None else float(self.calibration.apply(np.array([bonafide]))[0]),
        )

    def explain(self, audio: Any, *, channel: int | None = None) -> Explanation:
        """Tell which spans of time and bands of frequency carried the score of the first window.

        Takes about 50 times as long as the score, for silencing one span and band after the other.

        Args:
            audio: as for `score`.
            channel: as for `score`.

        Raises:
            AudioError: as for `score`, or a recording that `score` gives no score.
            ConfigError: the architecture is not AASIST.
        """
        observe = self._observe
        prepared = self.prepare(audio, channel=channel)
        if not len(prepared.windows):
            raise AudioError(f"{prepared.name}: {prepared.status}; there is nothing to explain")
        return explain(
            observe,
            self.weights.config,
            prepared.windows[0],
            duration=prepared.duration,
            model_id=self.weights.model_id,
        )

    @functools.cached_property
    def _observe(self) -> Observe:
        return observer(self.model, self.variables, self.weights.config)


def _waveform(audio: Any, samples: int | None, channel: int | None) -> tuple[Float32[np.ndarray, " samples"], int]:
    """The first `samples` samples at 16 kHz, or all of them, and the count of all."""
    if isinstance(audio, tuple) and len(audio) == 2:
        wave = to_mono_16k(as_samples(audio[0], "the audio"), as_rate(audio[1]), channel=channel)
        return wave[:samples], wave.size
    if is_source(audio):
        if samples is not None:
            return load_start(audio, samples, channel=channel)
        wave = load_audio(audio, channel=channel)
        return wave, wave.size
    raise AudioError(f"cannot score {type(audio).__name__}: give a path, or (array, sample_rate) for samples in memory")


def _finite(logits: Float32[np.ndarray, "batch 2"], name: str) -> Float32[np.ndarray, "batch 2"]:
    if not np.isfinite(logits).all():
        raise AudioError(f"{name}: too loud for the model, whose output is not finite; scale it to [-1, 1]")
    return logits


def _as_float32(x: np.ndarray) -> np.ndarray:
    # Half-precision weights are computed with as float32: epsilon and variances are too small for them.
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _fixed_batches(waves: np.ndarray, largest: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cut into batches whose sizes are powers of two, so that few shapes are compiled; the last is padded."""
    for start in range(0, len(waves), largest):
        part = waves[start : start + largest]
        size = 1 << (len(part) - 1).bit_length()
        yield np.pad(part, ((0, size - len(part)), (0, 0))), len(part)
