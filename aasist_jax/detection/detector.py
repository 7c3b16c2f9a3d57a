"""The Detector: says whether speech is human or synthetic, and how sure that is."""

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.damage import find_damage
from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.source import is_source, source_name
from aasist_jax.calibration.detector_calibration import (
    DetectorCalibration,
    published_calibration,
    read_detector_calibration,
    score_rule,
)
from aasist_jax.calibration.fusion import read_fusion
from aasist_jax.detection.batches import InTurn, Source, score_in_batches, score_many
from aasist_jax.detection.cutting import Cut, Cutter
from aasist_jax.detection.estimator import Estimator
from aasist_jax.detection.fused import Fused, fusion_file
from aasist_jax.detection.judging import judge_recording, with_channels
from aasist_jax.detection.model import Model, ReadOut
from aasist_jax.detection.recordings import has_two_sides, recording_blocks
from aasist_jax.detection.result import Prepared, Score, Timeline
from aasist_jax.detection.stream import Stream, score_timeline
from aasist_jax.detection.verdict import DecisionRule
from aasist_jax.errors import AudioError, ConfigError, ScoreFileError, WeightsError
from aasist_jax.models.explanation import Explainer, Explanation
from aasist_jax.runtime.private_folder import data_folder
from aasist_jax.weights.folder import Weights, load_weights
from aasist_jax.weights.published import find_weights, weights_names
from aasist_jax.weights.shipped import is_shipped

logger = logging.getLogger(__name__)

CALIBRATION_FILE = "calibration.json"
"""In a weights folder."""

Blocks = Iterable[Float32[np.ndarray, " samples"]]


def calibration_file(folder: Path, weights_id: str) -> Path:
    """Where the calibration that a user makes of the weights in a folder is kept.

    It is a file of that folder, but for the weights of the package: into the package nothing is written, and it may be
    installed for several users, so that theirs are in the user's data folder, by the id of the weights.
    """
    return data_folder() / "calibrations" / f"{weights_id}.json" if is_shipped(folder) else folder / CALIBRATION_FILE


class Detector(Model, Estimator):
    """A model with its weights and, where there is one, its calibration, ready to judge recordings."""

    def __init__(
        self, weights: Weights, *, dtype: Any = jnp.float32, calibration: DetectorCalibration | None = None
    ) -> None:
        """Prepare weights from `load_weights` for scoring; `dtype` is the compute dtype (float32 or bfloat16).

        Raises:
            WeightsError: the calibration belongs to other weights or to another rule.
        """
        super().__init__(weights, dtype=dtype)
        self.calibration = calibration
        if calibration is not None and (fault := self.calibration_fault(calibration)):
            raise WeightsError(f"{weights.weights_id}: {fault}")

    @classmethod
    def from_pretrained(
        cls, weights: str | PathLike[str] | None = None, *, download: bool = False, dtype: Any = jnp.float32
    ) -> "Detector":
        """Load weights: a folder, weights by name, or a repository of the Hugging Face Hub.

        With a calibration, results say `human`, `unsure` or `synthetic`; without one, `unsure`. It is the one that
        `aasist-jax calibrate` wrote (see `calibration_file`), or else that of the package for its own weights and for
        published ones. One that was fitted on other weights is left aside, with a warning.

        A window of noise is scored, so that weights which score nothing are told here, and not as a fault of the first
        recording. This compiles the model, which the first `score` then need not do.

        Args:
            weights: the path of a weights folder, as written by `aasist-jax fetch-weights`, `convert` and `train`; a
                name that `aasist-jax models` lists, of the package's own weights or of published ones; or
                `hf://owner/name[@revision]`. None for the one that it marks as the default. Several of these with
                commas between give a `FusedDetector`, with the fusion that `aasist-jax calibrate` fitted, if it did.
            download: download published weights if they are not on this machine yet.
            dtype: the compute dtype (float32 or bfloat16).

        Raises:
            WeightsError: there are no such weights, or they have not been downloaded yet; in that case the message
                gives their address and size. Or they are damaged, or give no finite score.
        """
        names = weights_names(weights)
        if len(names) > 1:
            members = [Detector.from_pretrained(name, download=download, dtype=dtype) for name in names]
            return FusedDetector.of(members)
        folder = find_weights(weights, download=download)
        detector = cls(load_weights(folder), dtype=dtype)
        detector.check_weights(str(folder))
        detector.calibration = detector._find_calibration(folder)
        return detector

    def _find_calibration(self, folder: Path) -> DetectorCalibration | None:
        candidates = (calibration_file(folder, self.weights.weights_id), folder / CALIBRATION_FILE)
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            published = published_calibration(self.weights.weights_id)
            return published if published is not None and not self.calibration_fault(published) else None
        try:
            calibration = read_detector_calibration(path)
            fault = self.calibration_fault(calibration)
        except ScoreFileError as error:
            fault = str(error)
        if fault:
            logger.warning("%s is left aside, and no verdict is sure: %s", path, fault)
            return None
        return calibration

    def calibration_fault(self, calibration: DetectorCalibration) -> str:
        """Say why a calibration does not hold for this detector, and the way out; '' if it does."""
        way_out = "calibrate again with `aasist-jax calibrate`"
        if calibration.weights_id != self.weights.weights_id:
            return f"it was fitted on the weights {calibration.weights_id}, not {self.weights.weights_id}; {way_out}"
        if calibration.rule != score_rule(self.window):
            return f"it is for another score ({calibration.rule}); {way_out}"
        features = calibration.domain.mean.size
        return (
            "" if features == self.features else f"its domain has {features} features, not {self.features}; {way_out}"
        )

    @property
    def weights_id(self) -> str:
        """Identifies configuration and tensors."""
        return self.weights.weights_id

    @property
    def model_id(self) -> str:
        """Identifies weights and calibration; without a calibration, the weights alone."""
        bound = "" if self.calibration is None else f"+{self.calibration.calibration_id}"
        return f"{self.weights_id}{bound}"

    @property
    def strongest(self) -> tuple[float, float] | None:
        """The lowest and the highest log-likelihood ratio that a verdict can rest on; None without a calibration."""
        return None if self.calibration is None else self.calibration.strongest

    def stream(
        self,
        sample_rate: int = SAMPLE_RATE,
        *,
        hop: float | None = None,
        exact: bool = False,
        rule: DecisionRule | None = None,
    ) -> Stream:
        """Begin to judge a signal that arrives in chunks; see `Stream` for the options.

        stream = detector.stream(48_000)
        for chunk in microphone:
            for window in stream.push(chunk): ...
        stream.finish()
        stream.result()  # a Score, the one that a file of the same samples has
        """
        return Stream(self, sample_rate, hop=hop, exact=exact, rule=rule)

    def timeline(
        self,
        audio: Any,
        *,
        hop: float | None = None,
        exact: bool = False,
        rule: DecisionRule | None = None,
        channel: int | None = None,
        watch: Callable[[Blocks], Blocks] | None = None,
    ) -> Timeline:
        """Judge one recording over time; see `Stream` for the options.

        Its verdict is the one of `score`. `audio`, `rule` and `channel` are what `score` takes. `watch` gets the blocks
        of samples at 16 kHz as they are read, to draw them for example, and returns them.
        """
        is_damaged = is_source(audio) and find_damage(audio) is not None
        blocks = recording_blocks(audio, channel)
        blocks = blocks if watch is None else watch(blocks)
        timeline = score_timeline(self, blocks, hop=hop, exact=exact, rule=rule, is_damaged=is_damaged)
        if channel is not None or not has_two_sides(audio):
            return timeline
        sides = [self.score(audio, channel=side, rule=rule) for side in (0, 1)]
        return replace(timeline, score=with_channels(timeline.score, sides))

    def score(
        self, audio: Any, *, channel: int | None = None, rule: DecisionRule | None = None, published: bool = False
    ) -> Score:
        """Judge one recording: the whole of it, by the windows that hold speech.

        Args:
            audio: a path, a binary file object, the content of a file as bytes, or `(array, sample_rate)` with the
                array (samples,) or (samples, channels).
            channel: the channel to judge, counted from 0; default: the mean of all channels. Where two channels differ,
                as the two sides of a call do, each is then judged as well (`Score.channels`), and it is said if their
                labels differ.
            rule: the prior of synthetic speech, and how sure a label must be.
            published: score the first window alone, as in the papers, and give no label. `Window.first` says how a
                shorter recording is extended. The whole recording is decoded all the same, so that a truncated file
                is an error.

        Raises:
            AudioError: one line that names the input and the reason: no such file, not audio, NaN, no sample
                rate, ...
        """
        prepared = self.prepare(audio, channel=channel, published=published)
        # Each channel by itself, in the batches in which a file of that channel alone is scored.
        values = [self.read_out(each.cuts, prepared.name) for each in (prepared, *prepared.channels)]
        return self.judge(prepared, np.concatenate([each for each in values if len(each)] or values[:1]), rule=rule)

    def score_many(
        self,
        recordings: Iterable[Any],
        *,
        progress: bool = False,
        channel: int | None = None,
        rule: DecisionRule | None = None,
        published: bool = False,
    ) -> Iterator[Score | AudioError]:
        """Judge many recordings: threads decode ahead, windows share batches, and a fault stays with its recording.

        Args:
            recordings: what `score` takes, many times; a generator is read a little ahead of the results, by threads.
            progress: show progress on standard error: a bar on a terminal, a line every ten seconds elsewhere.
            channel: as for `score`.
            rule: as for `score`.
            published: as for `score`.

        Returns:
            An iterator of one result for every recording, in order: its `Score`, or the AudioError that `score` would
            raise, so that one damaged recording does not end the others.

        Raises:
            AudioError: `recordings` is a single recording.
        """
        return score_many(self, recordings, progress=progress, channel=channel, rule=rule, published=published)

    def score_sources(
        self,
        sources: Iterable[Source | InTurn],
        *,
        channel: int | None = None,
        rule: DecisionRule | None = None,
        published: bool = False,
    ) -> Iterator[Score | AudioError]:
        """What `score_many` does, of functions that return recordings; see `score_in_batches`."""
        return score_in_batches(self, sources, channel=channel, rule=rule, published=published)

    def prepare(self, audio: Any, *, channel: int | None = None, published: bool = False) -> Prepared:
        """Decode, check and cut a recording into windows: the part of `score` before the model. Thread-safe.

        Raises:
            AudioError: as `score`.
        """
        name = source_name(audio) if is_source(audio) else "the audio"
        is_damaged = is_source(audio) and find_damage(audio) is not None
        prepared = self._prepare_one(audio, name, channel, is_damaged=is_damaged, published=published)
        if channel is not None or published or not has_two_sides(audio):
            return prepared
        sides = (self._prepare_one(audio, name, side, is_damaged=is_damaged, published=False) for side in (0, 1))
        return replace(prepared, channels=tuple(sides))

    def _prepare_one(
        self, audio: Any, name: str, channel: int | None, *, is_damaged: bool, published: bool
    ) -> Prepared:
        """Prepare the mean of all channels, or one of them."""
        cutter, cuts = Cutter(self.window_rule), []
        start: list[np.ndarray] = []
        for block in recording_blocks(audio, channel):
            cuts += cutter.push(block)
            if published:
                cuts.clear()
                if sum(map(len, start)) < self.window:
                    start.append(block)
        cuts += cutter.finish()
        facts = cutter.facts()
        condition = cutter.condition(facts, is_damaged=is_damaged)
        if published:
            cuts = [] if condition in ("silent", "constant") else [self._first_window(np.concatenate(start))]
        return Prepared(name, tuple(cuts), facts, condition, is_published=published)

    def _first_window(self, wave: Float32[np.ndarray, " samples"]) -> Cut:
        window, length = self.window_rule.first(wave)
        is_short = wave.size < self.window
        return Cut(0, min(wave.size, self.window), "short" if is_short else "ok", window, length)

    def judge(self, prepared: Prepared, values: ReadOut, *, rule: DecisionRule | None = None) -> Score:
        """Turn what the model gave for the windows into a result: the part of `score` after the model.

        Raises:
            AudioError: the logits are not finite.
        """
        values = self.finite(values, prepared.name)
        own = sum(cut.wave is not None for cut in prepared.cuts)
        score = judge_recording(
            prepared.cuts,
            values[:own],
            facts=prepared.facts,
            condition=prepared.status,
            weights_id=self.weights.weights_id,
            calibration=self.calibration,
            rule=None if prepared.is_published else rule or DecisionRule(),
        )
        sides = []
        for side in prepared.channels:
            sides.append(self.judge(side, values[own : own + len(side.heard)], rule=rule))
            own += len(side.heard)
        return with_channels(score, sides)

    def explain(self, audio: Any, *, channel: int | None = None) -> Explanation:
        """Explain which spans of time and bands of frequency moved the raw score of the first window.

        Takes a score for every span and band, because each is silenced in turn.

        Args:
            audio: as for `score`.
            channel: as for `score`.

        Raises:
            AudioError: as for `score`; also for a silent or constant recording, which has no score.
            ConfigError: this family has no explainer.
        """
        explainer = self._explainer
        prepared = self.prepare(audio, channel=channel, published=True)
        if not prepared.cuts:
            raise AudioError(f"{prepared.name}: {prepared.status}; there is nothing to explain")
        (cut,) = prepared.cuts
        assert cut.wave is not None
        length = self.window if cut.length is None else cut.length
        seconds = prepared.facts.seconds
        return explainer(cut.wave, length=length, duration=seconds, weights_id=self.weights.weights_id)

    @functools.cached_property
    def _explainer(self) -> Explainer:
        if self.family.explainer is None:
            raise ConfigError(f"{self.family.name}: scores of this family cannot be explained; `timeline` shows where")
        return self.family.explainer(self.weights.config, self.variables)


class FusedDetector(Fused, Detector):
    """Several detectors as one: it scores whole recordings, and refuses what needs a single network."""

    @classmethod
    def of(cls, members: Sequence[Detector]) -> "FusedDetector":
        """Join detectors, with their fusion where one is kept (see `fusion_file`).

        Raises:
            WeightsError: one stands there twice.
        """
        fused = cls(members)
        path = fusion_file(fused.member_ids)
        if not path.is_file():
            return fused
        try:
            return cls(members, fusion=read_fusion(path))
        except (ScoreFileError, WeightsError) as error:
            logger.warning("%s is left aside, and no verdict is sure: %s", path, error)
            return fused
