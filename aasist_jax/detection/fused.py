"""Several detectors that judge a recording as one.

Each member judges the whole recording by itself, in windows of its own length; what is fused is the evidence of each, a
log-likelihood ratio (LLR). `aasist_jax.calibration.fusion` has the map.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from aasist_jax.audio.load import load_start
from aasist_jax.calibration.evidence import recording_llr
from aasist_jax.calibration.fusion import Fusion
from aasist_jax.detection.batches import InTurn, Source, score_in_turn
from aasist_jax.detection.judging import with_channels
from aasist_jax.detection.result import Score
from aasist_jax.detection.verdict import CHANNELS_DIFFER, UNCALIBRATED, DecisionRule, judge
from aasist_jax.errors import AudioError, ConfigError, WeightsError
from aasist_jax.runtime.private_folder import data_folder

if TYPE_CHECKING:
    from aasist_jax.calibration.detector_calibration import DetectorCalibration
    from aasist_jax.detection.detector import Detector


class Fused:
    """What a fusion does in other ways than a detector of one network; a part of `FusedDetector`.

    Attributes:
        members: the detectors, in the order of their `model_id`: `a,b` and `b,a` are the same.
        fusion: how their evidence is weighed; None: every verdict is `unsure (uncalibrated)`.
    """

    def __init__(self, members: Sequence["Detector"], *, fusion: Fusion | None = None) -> None:
        """Join detectors.

        Raises:
            WeightsError: one stands there twice, or the fusion is of others.
        """
        self.members = tuple(sorted(members, key=lambda member: member.model_id))
        self.calibration: DetectorCalibration | None = None
        self.fusion = fusion
        if len({member.weights_id for member in members}) < len(members):
            raise WeightsError(f"{self.weights_id}: the same weights are named twice; name each once")
        if fusion is not None and fusion.members != self.member_ids:
            raise WeightsError(f"{self.weights_id}: the fusion is one of {','.join(fusion.members)}; fit it again")

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what only one network has; everything else that is missing is missing."""
        if name in ("weights", "family", "network", "variables"):
            raise ConfigError(
                f"{self.weights_id}: a fusion judges whole recordings, and has no windows, streams, explanations or "
                "exports of its own; take one of its members"
            )
        raise AttributeError(name)

    @property
    def member_ids(self) -> tuple[str, ...]:
        """The `model_id` of every member."""
        return tuple(member.model_id for member in self.members)

    @property
    def weights_id(self) -> str:
        """Those of the members, with commas between."""
        return ",".join(member.weights_id for member in self.members)

    @property
    def model_id(self) -> str:
        """Those of the members, with commas between, and the id of the fusion."""
        return ",".join(self.member_ids) + ("" if self.fusion is None else f"+{self.fusion.fusion_id}")

    @property
    def strongest(self) -> tuple[float, float] | None:
        """As `Detector.strongest`."""
        return None if self.fusion is None else self.fusion.strongest

    def need_calibrated_members(self) -> None:
        """Check that every member gives evidence.

        Raises:
            WeightsError: one has no calibration.
        """
        for member in self.members:
            if member.calibration is None:
                raise WeightsError(
                    f"{member.weights_id}: not calibrated, so its scores cannot be weighed against others; calibrate "
                    "it by itself first with `aasist-jax calibrate`"
                )

    def score(
        self, audio: Any, *, channel: int | None = None, rule: DecisionRule | None = None, published: bool = False
    ) -> Score:
        """Judge one recording, as `Detector.score` does; `Score.members` has what each member says.

        Raises:
            AudioError: as there.
            ConfigError: `published` is asked for, which is the logit of one network.
        """
        if published:
            raise ConfigError(f"{self.weights_id}: a fusion has no published score; take one of its members")
        return self._fused([member.score(audio, channel=channel, rule=rule) for member in self.members], rule)

    def _fused(self, scores: Sequence[Score], rule: DecisionRule | None) -> Score:
        found = fuse(scores, self.fusion, rule or DecisionRule(), weights_id=self.weights_id, model_id=self.model_id)
        sides = zip(*(score.channels for score in scores), strict=True)
        return with_channels(found, [self._fused(side, rule) for side in sides])

    def score_sources(self, sources: Iterable[Source | InTurn], **how: Any) -> Iterator[Score | AudioError]:
        """As `Detector.score_sources`, one recording after the other."""
        return score_in_turn(self.score, sources, **how)

    def start_llr(self, path: Path) -> float:
        """The LLR of the start of a recording, by the first window of every member.

        Raises:
            AudioError: the recording cannot be read.
            WeightsError: the fusion has not been fitted.
        """
        if self.fusion is None:
            raise WeightsError(f"{self.weights_id}: the fusion is not fitted; fit it with `aasist-jax calibrate`")
        llrs = []
        for member in self.members:
            logits = member.start_logits(load_start(path, member.window)[0])
            # A fusion is of calibrated members.
            assert member.calibration is not None
            llrs.append(member.calibration.llrs(logits[1:]))
        return float(self.fusion.llrs(np.concatenate(llrs))[0])


def evidence(score: Score) -> float | None:
    """The LLR of a recording whatever there is to doubt; None where nothing was heard, or without a calibration."""
    llrs = [window.llr for window in score.windows if window.llr is not None]
    return recording_llr(np.array(llrs)) if llrs else None


def fuse(
    scores: Sequence[Score], fusion: Fusion | None, rule: DecisionRule, *, weights_id: str, model_id: str
) -> Score:
    """The result of a recording from those of the members.

    What makes one member unsure whatever the numbers say makes the fusion unsure as well.

    Args:
        scores: of the members, in order, with verdicts.
        fusion: of the members; None: the verdict is `unsure (uncalibrated)`.
        rule: how to decide.
        weights_id: of the members together.
        model_id: of the members and the fusion.
    """
    llrs = [llr for score in scores if (llr := evidence(score)) is not None]
    fused = None
    if fusion is not None:
        fused = fusion.llrs(np.array(llrs)) if len(llrs) == len(scores) else np.zeros(0)
    of_members = [reason for score in scores for reason in score.reasons]
    # Whether there is a calibration, and whether the labels of two channels differ, is seen here.
    reasons = [reason for reason in of_members if reason not in (UNCALIBRATED, CHANNELS_DIFFER)]
    return replace(
        scores[0],
        verdict=judge(fused, rule, reasons),
        score=None,
        logits=None,
        heard_seconds=min(score.heard_seconds for score in scores),
        weights_id=weights_id,
        model_id=model_id,
        windows=(),
        channels=(),
        members=tuple(scores),
    )


def fusion_file(member_ids: Sequence[str]) -> Path:
    """Where the fusion of these members is kept: in the user's data folder, by their ids."""
    digest = hashlib.sha256("\n".join(member_ids).encode()).hexdigest()[:12]
    return data_folder() / "calibrations" / f"fusion-{digest}.json"
