"""The evidence of a recording, from the log-likelihood ratios (LLR) of its windows. Pure functions.

A log-likelihood ratio is that of human over synthetic speech, natural log. `e = exp(-LLR)` of a window is an e-value
against "this is human": over human speech its mean is at most 1. Two ways of being synthetic are weighed alike: wholly,
by the mean LLR of the windows, and in part, by the mean of their e-values. This mean is an e-value again, however the
windows depend on one another (Vovk and Wang, "E-values: calibration, combination and applications", Annals of
Statistics 49, 2021). A longer recording is therefore not called synthetic more often. docs/verdict.md derives this.
"""

import math

import numpy as np
from jaxtyping import Float


def recording_llr(llrs: Float[np.ndarray, " windows"]) -> float:
    """The log-likelihood ratio of a recording from those of its windows; non-decreasing in each of them.

    `-log((exp(-mean(llrs)) + mean(exp(-llrs))) / 2)`: human speech throughout against speech that is, with equal
    weight, synthetic throughout or in part.
    """
    wholly, partly = _ways_of_being_synthetic(llrs)
    return float(-np.logaddexp(wholly, partly))


def _ways_of_being_synthetic(llrs: np.ndarray) -> tuple[float, float]:
    """The logs of `exp(-mean(llrs)) / 2` and `mean(exp(-llrs)) / 2`."""
    half = math.log(0.5)
    return half - float(llrs.mean()), half + _log_mean_exp(-llrs)


def _log_mean_exp(x: np.ndarray) -> float:
    return float(np.logaddexp.reduce(x) - math.log(x.size))


def window_posteriors(
    windows: Float[np.ndarray, " windows"], heard: Float[np.ndarray, " heard"], prior: float
) -> Float[np.ndarray, " windows"]:
    """Probability that each window is synthetic, given its recording.

    "Wholly" concerns every window alike. "In part" concerns window i by the odds `x_i = o a_i / 2` that its own
    evidence gives, with the prior odds o and the e-value `a_i` of the window adjusted for having looked at all of them:
    the largest `k e_(k) / n` over the ranks k from its own on, as in the e-BH procedure (Wang and Ramdas, "False
    discovery rate control with e-values", JRSS B 84, 2022), and at most the mean. The most suspicious window has the
    mean. No window is more probably synthetic than the recording, and the most suspicious one is as probably synthetic:
    a recording is synthetic exactly if one of its windows is, and human exactly if all are.

    Args:
        windows: log-likelihood ratios of the windows to be judged, which may overlap.
        heard: those of the windows that the verdict on the recording rests on.
        prior: probability of synthetic speech.
    """
    if windows.size == 0:
        return np.zeros(0)
    wholly, partly = _ways_of_being_synthetic(heard)
    order = np.argsort(windows, kind="stable")
    ranks = np.arange(1, windows.size + 1)
    # log of k e_(k) / n, for the k-th largest e-value; then the best that a window can be part of.
    reached = np.log(ranks / windows.size) - windows[order]
    adjusted = np.empty(windows.size)
    adjusted[order] = np.maximum.accumulate(reached[::-1])[::-1]
    mean = _log_mean_exp(-heard)
    adjusted = np.minimum(adjusted, mean)
    # If a part is synthetic, then first of all the most suspicious one.
    adjusted[windows == windows.min()] = mean
    log_odds = math.log(prior / (1 - prior))
    own, most = (log_odds + math.log(0.5) + each for each in (adjusted, mean))
    log_share = np.logaddexp(0.0, -most) - np.logaddexp(0.0, -own)
    log_total = np.logaddexp(0.0, log_odds + np.logaddexp(wholly, partly))
    return np.exp(log_odds + np.logaddexp(wholly, partly + log_share) - log_total)
