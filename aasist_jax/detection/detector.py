"""The Detector: scores whether speech is human (bona fide) or synthetic (spoof)."""

import functools
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32

from aasist_jax.audio.condition import SHORT_SECONDS, condition
from aasist_jax.audio.damage import find_damage
from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import as_rate, as_samples, iter_audio, load_audio, load_start, to_mono_16k
from aasist_jax.audio.source import is_source, source_name
from aasist_jax.audio.windows import all_windows
from aasist_jax.calibration.llr import Calibration, load_calibration
from aasist_jax.detection.batches import BATCH_SIZE, Windows, check_windows, score_many
from aasist_jax.detection.result import Prepared, Score
from aasist_jax.detection.stream import Stream, score_timeline
from aasist_jax.detection.timeline import Rule, Timeline
from aasist_jax.errors import AudioError, ConfigError, WeightsError
from aasist_jax.models.explanation import Explainer, Explanation
from aasist_jax.models.family import LABELS, FrameGeometry, Window, family_of
from aasist_jax.models.network import build_network, class_logits, score_function
from aasist_jax.models.variables import split_variables
from aasist_jax.weights.folder import Weights, load_weights
from aasist_jax.weights.published import find_weights

CALIBRATION_FILE = "calibration.json"


class Detector:
    """A model with its weights, ready to score.

    Float32 matrix products use full float32 precision on every backend (no TF32), so that scores agree with the
    reference implementation to 2e-5.
    """

    def __init__(self, weights: Weights, *, dtype: Any = jnp.float32, calibration: Calibration | None = None) -> None:
        """Prepare weights from `load_weights` for scoring; `dtype` is the compute dtype (float32 or bfloat16)."""
        self.weights = weights
        self.calibration = calibration
        self.family = family_of(weights.config)
        self.network = network = build_network(weights.config, dtype=dtype)
        self.variables = variables = jax.device_put(jax.tree.map(_as_float32, weights.variables))
        params, state = split_variables(variables)
        score, index = score_function(weights.config, network), self.family.bonafide_index

        self._logits = jax.jit(lambda waves, lengths=None: score(variables, waves, lengths))
        self._encode = jax.jit(lambda pieces, valid: network.encode(params, state, pieces, valid))
        self._classify = jax.jit(lambda frames: class_logits(network.classify(params, state, frames)[0].logits, index))

    @classmethod
    def from_pretrained(
        cls, weights: str | PathLike[str] | None = None, *, download: bool = False, dtype: Any = jnp.float32
    ) -> "Detector":
        """Load weights: a folder, published weights by name, or a repository of the Hugging Face Hub.

        If the folder has a `calibration.json`, as written by `aasist-jax calibrate`, results also hold a log-likelihood
        ratio.

        Args:
            weights: the path of a weights folder, as written by `aasist-jax fetch-weights`, `convert` and `train`; the
                name of published weights, as listed by `aasist-jax models`; or `hf://owner/name[@revision]`. None for
                the default published weights.
            download: download published weights if they are not on this machine yet.
            dtype: the compute dtype (float32 or bfloat16).

        Raises:
            WeightsError: there are no such weights, or they have not been downloaded yet; in that case the message
                gives their address and size.
        """
        folder = find_weights(weights, download=download)
        path = folder / CALIBRATION_FILE
        calibration = load_calibration(path) if path.is_file() else None
        return cls(load_weights(folder), dtype=dtype, calibration=calibration)

    @property
    def window_rule(self) -> Window:
        """The input window of the network."""
        return self.family.window(self.weights.config)

    @property
    def window(self) -> int:
        """Length of a window in samples at 16 kHz."""
        return self.window_rule.samples

    @property
    def frame_geometry(self) -> FrameGeometry | None:
        """Which samples the encoder's frames cover; None for a family without frames."""
        geometry = self.family.frame_geometry
        return None if geometry is None else geometry(self.weights.config)

    def encode(
        self, wave: Float32[np.ndarray, "batch samples"], valid: Int32[np.ndarray, "batch 2"]
    ) -> Float32[np.ndarray, "batch f frames c"]:
        """Encode pieces of recordings; `valid` is the (start, end) of the valid samples (see `FrameNetwork`).

        Raises:
            ConfigError: the network has no frames.
        """
        if self.frame_geometry is None:
            raise ConfigError(f"{self.family.name}: its encoder has no frames; score whole windows with `logits`")
        with jax.default_matmul_precision("highest"):
            return np.asarray(self._encode(wave, valid), np.float32)

    def classify(self, frames: Float32[np.ndarray, "batch f frames c"]) -> Float32[np.ndarray, "batch 2"]:
        """Compute the logits of windows from the frames that `encode` returned.

        Raises:
            AudioError: the logits are not finite.
        """
        with jax.default_matmul_precision("highest"):
            return self._finite(np.asarray(self._classify(frames)), "the audio")

    def logits(self, waves: Any, lengths: Any = None) -> Float32[np.ndarray, "batch 2"]:
        """Score waveforms at 16 kHz, full scale 1.

        Args:
            waves: float32 (batch, samples), of any length that the model accepts.
            lengths: integers (batch,), the valid samples of each waveform, for a model without fixed windows; None:
                every sample is valid.

        Returns:
            (batch, 2), index 0 spoof, index 1 bona fide.

        Raises:
            AudioError: wrong shape or type, too few samples, NaN or infinite samples, or lengths that do not fit.
        """
        waves = as_samples(waves, "waves")
        if waves.ndim != 2 or waves.dtype != np.float32:
            raise AudioError(
                f"waves: expected float32 of shape (batch, samples), got {waves.dtype} of shape {waves.shape}"
            )
        shortest = self.window_rule.shortest
        if waves.shape[1] < shortest:
            raise AudioError(f"waves: {waves.shape[1]} samples; the model takes at least {shortest}")
        if not np.isfinite(waves).all():
            raise AudioError("waves: NaN or infinite samples; mend the audio before scoring it")
        return self._finite_logits(waves, self._lengths(waves, lengths), "waves")

    def _lengths(self, waves: np.ndarray, lengths: Any) -> Int32[np.ndarray, " batch"] | None:
        rule, (rows, samples) = self.window_rule, waves.shape
        if rule.fixed:
            if lengths is not None:
                raise AudioError(f"lengths: {self.family.name} has fixed windows and takes none; fill every waveform")
            return None
        # A model of any length always gets lengths, so that the same waveform has the same logits on every way to here.
        found = np.full(rows, samples, np.int32) if lengths is None else np.asarray(lengths)
        if found.shape != (rows,) or found.dtype.kind not in "iu":
            raise AudioError(f"lengths: expected {rows} integers, got {found.dtype} of shape {found.shape}")
        if rows and not rule.shortest <= found.min() <= found.max() <= samples:
            raise AudioError(f"lengths: expected {rule.shortest} to {samples}, got {found.min()} to {found.max()}")
        return found.astype(np.int32)

    def _finite_logits(
        self,
        waves: Float32[np.ndarray, "batch samples"],
        lengths: Int32[np.ndarray, " batch"] | None,
        name: str,
    ) -> Float32[np.ndarray, "batch 2"]:
        batches = [np.empty((0, 2), np.float32)]
        for rows in _fixed_batches(len(waves), BATCH_SIZE):
            inside = min(rows.stop, len(waves)) - rows.start
            missing = rows.stop - rows.start - inside
            padded = np.pad(waves[rows], ((0, missing), (0, 0)))
            # The rows that fill up the batch get the full length, because a length must not be 0.
            full = waves.shape[1]
            padded_lengths = None if lengths is None else np.pad(lengths[rows], (0, missing), constant_values=full)
            batches.append(self.batch_logits(padded, padded_lengths)[:inside])
        return self._finite(np.concatenate(batches), name)

    def _finite(self, logits: Float32[np.ndarray, "batch 2"], name: str) -> Float32[np.ndarray, "batch 2"]:
        if np.isfinite(logits).all():
            return logits
        # Quiet noise tells whose fault it is.
        noise = np.random.default_rng(0).normal(0, 0.01, (1, self.window)).astype(np.float32)
        if not np.isfinite(self.batch_logits(noise, self._lengths(noise, None))).all():
            raise WeightsError(
                f"{self.weights.model_id}: these weights give no finite score for any audio; they are damaged, or not "
                "those of this configuration"
            )
        raise AudioError(f"{name}: too loud for the model, whose output is not finite; scale it to [-1, 1]")

    def fill(
        self, wave: Float32[np.ndarray, " samples"]
    ) -> tuple[Float32[np.ndarray, " window"], Int32[np.ndarray, ""] | None]:
        """Make a window from the start of a wave, and return it with its length (see `Window.first`)."""
        window, length = self.window_rule.first(wave)
        return window, None if length is None else np.asarray(length, np.int32)

    def start_logits(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "2"]:
        """Score the start of a wave of any length, as one window."""
        window, length = self.fill(wave)
        logits: np.ndarray = self.logits(window[np.newaxis], None if length is None else length[np.newaxis])[0]
        return logits

    def stream(
        self, sample_rate: int = SAMPLE_RATE, *, hop: float | None = None, exact: bool = False, vad: bool = False
    ) -> Stream:
        """Begin to score a signal that arrives in chunks; see `Stream` for the options.

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

    def batch_logits(
        self, waves: Float32[np.ndarray, "batch samples"], lengths: Int32[np.ndarray, " batch"] | None = None
    ) -> Float32[np.ndarray, "batch 2"]:
        """Run the model on one batch without checks; each shape is compiled once.

        The logits of a row do not depend on the other rows or on its position in the batch.
        """
        with jax.default_matmul_precision("highest"):
            return np.asarray(self._logits(waves) if lengths is None else self._logits(waves, lengths))

    def score(self, audio: Any, *, windows: Windows = "first", channel: int | None = None) -> Score:
        """Score one recording.

        Args:
            audio: a path, a binary file object, the content of a file as bytes, or `(array, sample_rate)` with the
                array (samples,) or (samples, channels). `score_many` takes many of them.
            windows: `first` is the published rule: only the first window is scored; `Window.first` says how a shorter
                recording is extended. `all` scores every window, with the last one aligned to the end, and takes the
                mean. In both cases the whole recording is decoded, so that a truncated file is an error.
            channel: the channel to score, counted from 0; default: the mean of all channels. In stereo recordings of
                calls, each channel often holds one speaker.

        Raises:
            AudioError: one line that names the input and the reason: no such file, not audio, NaN, no sample
                rate, ...
        """
        prepared = self.prepare(audio, windows=windows, channel=channel)
        return self.judge(prepared, self._finite_logits(prepared.windows, prepared.lengths, prepared.name))

    def score_many(
        self,
        recordings: Iterable[Any],
        *,
        progress: bool = False,
        windows: Windows = "first",
        channel: int | None = None,
    ) -> Iterator[Score | AudioError]:
        """Score many recordings: threads decode ahead, windows share batches, and a fault stays with its recording.

        Args:
            recordings: what `score` takes, many times; a generator is read a little ahead of the results, by threads.
            progress: show progress on standard error: a bar on a terminal, a line every ten seconds elsewhere.
            windows: as for `score`.
            channel: as for `score`.

        Returns:
            An iterator of one result for every recording, in order: its `Score`, or the AudioError that `score` would
            raise, so that one damaged recording does not end the others.

        Raises:
            AudioError: `recordings` is a single recording, or `windows` is neither of the two.
        """
        return score_many(self, recordings, progress=progress, windows=windows, channel=channel)

    def prepare(self, audio: Any, *, windows: Windows = "first", channel: int | None = None) -> Prepared:
        """Decode, check and cut a recording into windows: the part of `score` before the model. Thread-safe.

        Raises:
            AudioError: as `score`.
        """
        check_windows(windows)
        name = source_name(audio) if is_source(audio) else "the audio"
        # At least SHORT_SECONDS are needed to decide whether the recording is short.
        start = None if windows == "all" else max(self.window, int(SHORT_SECONDS * SAMPLE_RATE))
        wave, length = _waveform(audio, start, channel)
        duration = length / SAMPLE_RATE
        status = condition(wave, is_damaged=is_source(audio) and find_damage(audio) is not None)
        if status in ("silent", "constant"):
            return Prepared(name, np.empty((0, self.window), np.float32), None, duration, status, 0.0)
        if windows == "all" and wave.size >= self.window:
            cut = all_windows(wave, self.window)
            lengths = None if self.window_rule.fixed else np.full(len(cut), self.window, np.int32)
            return Prepared(name, cut, lengths, duration, status, duration)
        window, inside = self.fill(wave)
        lengths = None if inside is None else inside[np.newaxis]
        heard = min(duration, self.window / SAMPLE_RATE)
        return Prepared(name, window[np.newaxis], lengths, duration, status, heard)

    def judge(self, prepared: Prepared, logits: Float32[np.ndarray, "windows 2"]) -> Score:
        """Turn the logits of all windows into a result: the part of `score` after the model.

        Raises:
            AudioError: the logits are not finite.
        """
        model_id = self.weights.model_id
        if not len(prepared.windows):
            return Score(None, None, None, prepared.duration, prepared.status, model_id, (), heard_seconds=0.0)
        self._finite(logits, prepared.name)
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
            heard_seconds=prepared.heard_seconds,
        )

    def explain(self, audio: Any, *, channel: int | None = None) -> Explanation:
        """Explain which spans of time and bands of frequency determined the score of the first window.

        Takes a score for every span and band, because each is silenced in turn.

        Args:
            audio: as for `score`.
            channel: as for `score`.

        Raises:
            AudioError: as for `score`; also for a silent or constant recording, which has no score.
            ConfigError: this family has no explainer.
        """
        explainer = self._explainer
        prepared = self.prepare(audio, channel=channel)
        if not len(prepared.windows):
            raise AudioError(f"{prepared.name}: {prepared.status}; there is nothing to explain")
        length = self.window if prepared.lengths is None else int(prepared.lengths[0])
        model_id = self.weights.model_id
        return explainer(prepared.windows[0], length=length, duration=prepared.duration, model_id=model_id)

    @functools.cached_property
    def _explainer(self) -> Explainer:
        if self.family.explainer is None:
            raise ConfigError(f"{self.family.name}: scores of this family cannot be explained; `timeline` shows where")
        return self.family.explainer(self.weights.config, self.variables)


def _waveform(audio: Any, samples: int | None, channel: int | None) -> tuple[Float32[np.ndarray, " samples"], int]:
    """The first `samples` samples at 16 kHz (None: all), and the number of samples of the whole recording."""
    if isinstance(audio, tuple) and len(audio) == 2 and not is_source(audio[0]):
        wave = to_mono_16k(as_samples(audio[0], "the audio"), as_rate(audio[1]), channel=channel)
        return wave[:samples], wave.size
    if is_source(audio):
        if samples is not None:
            return load_start(audio, samples, channel=channel)
        wave = load_audio(audio, channel=channel)
        return wave, wave.size
    way_out = "give a path, or (array, sample_rate) for samples in memory"
    if isinstance(audio, Iterable) and not hasattr(audio, "dtype"):
        way_out = "give one recording; `score_many` takes many of them, such as a list of paths"
    raise AudioError(f"cannot score {type(audio).__name__}: {way_out}")


def _as_float32(x: np.ndarray) -> np.ndarray:
    # Half-precision weights are converted to float32: epsilon and variances are too small for half precision.
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _fixed_batches(rows: int, largest: int) -> Iterator[slice]:
    """Cut rows into batches whose sizes are powers of two, so that few shapes are compiled.

    The last slice may reach beyond the rows.
    """
    for start in range(0, rows, largest):
        yield slice(start, start + (1 << (min(largest, rows - start) - 1).bit_length()))
