"""The names of scikit-learn beside ours, so that its metrics and plots take a Detector."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from aasist_jax.detection.verdict import DecisionRule
from aasist_jax.errors import AudioError, WeightsError

if TYPE_CHECKING:
    from aasist_jax.detection.result import Score


class Estimator:
    """`predict`, `predict_proba` and `decision_function` of many recordings, by `score_many`.

    A recording that cannot be read raises its AudioError; `score_many` goes on with the others. `score` is our own and
    not scikit-learn's mean accuracy.
    """

    classes_ = np.array(["human", "synthetic"])
    """The columns of `predict_proba`. `predict` gives `unsure` as well."""

    if TYPE_CHECKING:

        @property
        def weights_id(self) -> str:
            """See `Detector.weights_id`."""

        @property
        def strongest(self) -> tuple[float, float] | None:
            """See `Detector.strongest`."""

        def score_many(self, recordings: Iterable[Any], *, rule: DecisionRule | None) -> Iterator[Score | AudioError]:
            """See `Detector.score_many`."""

    def predict(self, X: Iterable[Any], *, rule: DecisionRule | None = None) -> Shaped[np.ndarray, " recordings"]:
        """The label of each recording: `human`, `unsure` or `synthetic`, as an array of texts.

        Args:
            X: recordings, as `score_many` takes them.
            rule: as for `score`.

        Raises:
            AudioError: of the first recording that cannot be scored.
        """
        return np.array([result.label for result in self._results(X, rule)], dtype="<U9")

    def predict_proba(self, X: Iterable[Any], *, rule: DecisionRule | None = None) -> Float[np.ndarray, "recordings 2"]:
        """P(human) and P(synthetic) of each recording, in the order of `classes_`.

        NaN for a recording whose verdict has no number to act on, such as one without speech: leave it out, and do not
        fill it in.

        Args:
            X: recordings, as `score_many` takes them.
            rule: as for `score`; its prior counts.

        Raises:
            AudioError: of the first recording that cannot be scored.
            WeightsError: without a calibration there are no probabilities.
        """
        self._need_calibration("predict_proba")
        found = [result.p_synthetic for result in self._results(X, rule)]
        p_synthetic = np.array(found, np.float64)
        return np.stack([1 - p_synthetic, p_synthetic], axis=1)

    def decision_function(self, X: Iterable[Any]) -> Float[np.ndarray, " recordings"]:
        """The log-likelihood ratio of synthetic over human speech of each recording, natural log.

        As everywhere in scikit-learn, higher means the second of `classes_`: it is `-Score.llr`, whose own sign is
        that of the published scores. NaN where there is no number to act on, as in `predict_proba`.

        Args:
            X: recordings, as `score_many` takes them.

        Raises:
            AudioError: of the first recording that cannot be scored.
            WeightsError: there is no calibration. Raw logits never stand in for ratios: `Score.score` has them.
        """
        self._need_calibration("decision_function")
        return -np.array([result.llr for result in self._results(X, None)], np.float64)

    def _results(self, recordings: Iterable[Any], rule: DecisionRule | None) -> "Iterator[Score]":
        for result in self.score_many(recordings, rule=rule):
            if isinstance(result, AudioError):
                raise result
            yield result

    def _need_calibration(self, name: str) -> None:
        if self.strongest is None:
            raise WeightsError(
                f"{name}: {self.weights_id} has no calibration, so its scores are no evidence yet; "
                "`aasist-jax calibrate` makes one, and `score` gives raw logits"
            )
