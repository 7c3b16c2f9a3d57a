"""Calibration loss: the quality of scores as log-likelihood ratios (bona fide over spoof, natural log).

Brümmer and du Preez, "Application-independent evaluation of speaker detection", Computer Speech and Language
20, 2006.
"""

import numpy as np

from aasist_jax.metrics.error_rates import ErrorCurve, PerResample, det_points, roc_convex_hull_of
from aasist_jax.metrics.scores import BonafideScores, SpoofScores


def cllr_bits(bonafide: BonafideScores, spoof: SpoofScores) -> float:
    """Cost of the log-likelihood ratio in bits: 0 at best, 1 for a system that always returns 0.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    return float(cllr_bits_of(det_points(bonafide, spoof)))


def cllr_bits_of(curve: ErrorCurve) -> PerResample:
    """Cllr in bits; see `cllr_bits`."""
    scores = curve.thresholds[:-1]
    # As floating-point shares, because NumPy's matrix product of integers is slow.
    bonafide_share, spoof_share = np.diff(curve.miss), -np.diff(curve.false_alarm)
    nats = bonafide_share @ np.logaddexp(0, -scores) + spoof_share @ np.logaddexp(0, scores)
    return nats / (2 * np.log(2))


def min_cllr_bits(bonafide: BonafideScores, spoof: SpoofScores) -> float:
    """Cllr after the optimal monotone calibration on the same trials, in bits; from 0 to 1.

    This calibration assigns one likelihood ratio to all trials between two vertices of the convex hull of the ROC: the
    share of bona fide trials there over the share of spoofs.

    Raises:
        ScoresError: A class is empty, or a score is NaN or infinite.
    """
    return float(min_cllr_bits_of(det_points(bonafide, spoof)))


def min_cllr_bits_of(curve: ErrorCurve) -> PerResample:
    """Minimum Cllr in bits; see `min_cllr_bits`."""
    bits = np.empty(curve.missed.shape[:-1])
    for resample in np.ndindex(bits.shape):
        hull = roc_convex_hull_of(ErrorCurve(curve.thresholds, curve.missed[resample], curve.accepted[resample]))
        bonafide_share, spoof_share = np.diff(hull.miss), -np.diff(hull.false_alarm)
        mixed = (bonafide_share > 0) & (spoof_share > 0)
        bonafide_share, spoof_share = bonafide_share[mixed], spoof_share[mixed]
        bonafide_bits = np.sum(bonafide_share * np.log2(1 + spoof_share / bonafide_share))
        spoof_bits = np.sum(spoof_share * np.log2(1 + bonafide_share / spoof_share))
        bits[resample] = (bonafide_bits + spoof_bits) / 2
    return bits
