"""What a Detector makes of one recording: before the model, `Prepared`; after it, `Score`."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from jaxtyping import Float32, Int32

from aasist_jax.audio.condition import Condition
from aasist_jax.calibration.llr import probability_of_spoof


@dataclass(frozen=True, repr=False)
class Score:
    """A Detector's result for one recording.

    Attributes:
        label: `bonafide` or `spoof`, whichever of the two mean logits is larger, whatever the `llr` is; None if the
            recording is not scored (see `status`).
        score: the published score, the raw logit of bona fide; higher means more likely human. It is not a likelihood
            ratio. With several windows, their mean. None if the recording is not scored.
        logits: the logits (spoof, bona fide); with several windows, their mean. None if the recording is not scored.
        duration: length of the recording in seconds.
        status: the condition of the scored audio (the first window or all of it). `ok`; `damaged` (anywhere in the
            file, by its format's own checks), `short` (less than 0.5 s) and `clipped` (heavily) are scored, but the
            score is not reliable; `silent` (digital silence) and `constant` (the same value throughout) are not scored.
        model_id: identifies the model that gave the score.
        window_scores: the score of every window, in order.
        llr: the score as a log-likelihood ratio, bona fide over spoof, natural log; None if the weights folder has no
            calibration.
        heard_seconds: seconds of the recording that were judged, at most `duration`; 0 if it is not scored.
    """

    label: str | None
    score: float | None
    logits: tuple[float, float] | None
    duration: float
    status: Condition
    model_id: str
    window_scores: tuple[float, ...]
    llr: float | None = None
    _: KW_ONLY
    heard_seconds: float

    def __repr__(self) -> str:
        score = None if self.score is None else round(self.score, 3)
        llr = "" if self.llr is None else f"llr={self.llr:.2f}, "
        heard = f"heard_seconds={self.heard_seconds:.2f}, duration={self.duration:.2f}"
        return f"Score(label={self.label!r}, score={score}, {llr}{heard}, status={self.status!r})"

    def probability_of_spoof(self, p_spoof: float) -> float | None:
        """Posterior probability of a spoof at the prior `p_spoof`; None if there is no `llr`."""
        if self.llr is None:
            return None
        return float(probability_of_spoof(np.array([self.llr]), p_spoof)[0])


@dataclass(frozen=True)
class Prepared:
    """A recording that was decoded and cut, ready for the model.

    Attributes:
        name: the name used in messages.
        windows: float32 (windows, samples) at 16 kHz; no windows if the recording is silent or constant.
        lengths: valid samples of each window, for networks that take lengths; None otherwise.
        duration: length of the recording in seconds.
        status: as in `Score`.
        heard_seconds: as in `Score`.
    """

    name: str
    windows: Float32[np.ndarray, "windows samples"]
    lengths: Int32[np.ndarray, " windows"] | None
    duration: float
    status: Condition
    heard_seconds: float
