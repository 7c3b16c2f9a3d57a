"""Error rates by group: by attack, codec, speaker, language, or any other column of the keys."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Shaped

from aasist_jax.evaluation.score_files import Trials
from aasist_jax.metrics.bootstrap import Interval, Resampling, Sampling, bootstrap_intervals
from aasist_jax.metrics.error_rates import equal_error_rate, equal_error_rate_of

MOST_GROUPS = 200
"""Columns with more values than this are not broken down, because they identify trials rather than groups."""

OFFICIAL = (
    *("attack", "codec", "transmission", "compression", "vocoder", "source", "codec_quality", "language"),
    *("asv_room", "attacker_room", "distance_to_asv", "attacker_to_speaker", "replay_device"),
)
"""Columns by which the ASVspoof challenges break their results down, in the order of a report."""

BINS_FROM = 12
"""Numeric columns with more values than this are divided into quartiles."""


@dataclass(frozen=True)
class Group:
    """The trials with one value in a column.

    Attributes:
        value: The value.
        n_bonafide: Number of bona fide trials in the error rate.
        n_spoof: Number of spoofs in the error rate.
        eer: Equal error rate; None if a class has no trials.
        interval: Interval of the rate; None if none was requested.
    """

    value: str
    n_bonafide: int
    n_spoof: int
    eer: float | None
    interval: Interval | None = None


def break_down(
    trials: Trials,
    column: str,
    *,
    resampling: Resampling | None = None,
    speaker_column: str | None = None,
) -> list[Group]:
    """Equal error rate for every value of a column, worst first; values with only one class last.

    If bona fide trials and spoofs share no value, as with attacks, every group of spoofs is measured against all bona
    fide trials.

    Args:
        trials: Scored trials.
        column: One of their columns. Numeric columns with many values are divided into quartiles.
        resampling: Number of resamples and confidence of the intervals; None for no intervals.
        speaker_column: Column that names the speakers, to draw whole speakers instead of clips.
    """
    values = binned(trials.columns[column])
    is_bonafide = trials.is_bonafide
    shared = np.intersect1d(values[is_bonafide], values[~is_bonafide]).size > 0
    groups = []
    for value in np.unique(values if shared else values[~is_bonafide]):
        here = values == value
        bonafide, spoof = is_bonafide & (here | (not shared)), ~is_bonafide & here
        counts = int(bonafide.sum()), int(spoof.sum())
        if 0 in counts:
            groups.append(Group(str(value), *counts, None))
            continue
        scores = trials.scores[bonafide], trials.scores[spoof]
        interval = None
        if resampling:
            sampling = Sampling()
            if speaker_column is not None and speaker_column != column:
                speakers = trials.columns[speaker_column]
                sampling = Sampling(speakers[bonafide], speakers[spoof])
            statistics = {"eer": lambda curve: equal_error_rate_of(curve)[0]}
            interval = bootstrap_intervals(statistics, *scores, sampling, resampling)["eer"]
        groups.append(Group(str(value), *counts, equal_error_rate(*scores).eer, interval))
    return sorted(groups, key=lambda group: (group.eer is None, -(group.eer or 0.0), group.value))


def informative_columns(trials: Trials) -> list[str]:
    """The columns that divide the trials into at least 2 and at most `MOST_GROUPS` groups.

    What the data sets themselves are broken down by (`OFFICIAL`) comes first and speakers last.
    """
    telling = [name for name, column in trials.columns.items() if 2 <= np.unique(binned(column)).size <= MOST_GROUPS]
    place = {name: index for index, name in enumerate(OFFICIAL)} | {"speaker": len(OFFICIAL) + 1}
    return sorted(telling, key=lambda name: place.get(name, len(OFFICIAL)))


def binned(column: Shaped[np.ndarray, "trials"]) -> Shaped[np.ndarray, "trials"]:
    """The column itself, or, if it has many different numbers, the quartile of each number."""
    try:
        numbers = column.astype(np.float64)
    except ValueError:
        return column
    if np.unique(numbers).size <= BINS_FROM or not np.isfinite(numbers).all():
        return column
    edges = np.unique(np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1]))
    names = np.array([f"{low:g} to {high:g}" for low, high in pairwise(edges)])
    return names[np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, names.size - 1)]
