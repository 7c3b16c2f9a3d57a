"""Results of many recordings as a pandas frame; needs the extra `pandas`."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from aasist_jax.detection.files import COLUMNS, Row
from aasist_jax.detection.result import Score
from aasist_jax.errors import AudioError, ConfigError, DataError

if TYPE_CHECKING:
    import pandas

NUMBERS = (
    "p_synthetic",
    "llr",
    "score",
    "seconds",
    "heard_seconds",
    "speech_seconds",
    "spoof_logit",
    "bonafide_logit",
)
"""Columns of numbers, float64 with NaN where there is none; but for `channel`, the others hold texts or None."""

_NONE = object()


def to_frame(
    recordings: Iterable[Any],
    results: Iterable[Score | AudioError],
    *,
    channel: int | Literal["each"] | None = None,
) -> "pandas.DataFrame":
    """The results of many recordings as a pandas frame, with the columns that `aasist-jax score` writes.

        to_frame(paths, detector.score_many(paths, progress=True))

    Args:
        recordings: what was scored, for the column `file`: paths as they are, anything else as `recording 1` and so on,
            by its place.
        results: one for each, in the same order, such as those of `Detector.score_many`.
        channel: what `Detector.score_many` was given, for the column `channel`; or `each`, for a row of each channel
            where two channels differ and were judged by themselves (`Score.channels`), in place of that of their mean.

    Returns:
        One row for each recording, or for each such channel. That of a recording which could not be scored has the
        status `error`, and says why in `error`. `channel` is a number counted from 0, or NA for the mean of all.

    Raises:
        ConfigError: pandas is not installed.
        DataError: there are more of the one than of the other.
    """
    try:
        import pandas
    except ImportError:
        raise ConfigError("to_frame needs pandas: pip install 'aasist_jax[pandas]'") from None
    left, rows, places = iter(recordings), list[Row](), 0
    for place, result in enumerate(results, start=1):
        if (recording := next(left, _NONE)) is _NONE:
            raise DataError(f"to_frame: {place} results or more for {place - 1} recordings; give each its recording")
        name = os.fspath(recording) if isinstance(recording, str | os.PathLike) else f"recording {place}"
        rows += _rows(name, result, channel)
        places = place
    if next(left, _NONE) is not _NONE:
        raise DataError(f"to_frame: {places} results for more recordings; give each its result")
    frame = pandas.DataFrame([row.as_dict() for row in rows], columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(NUMBERS, float) | {"channel": "Int64"})


def _rows(name: str, result: Score | AudioError, channel: int | Literal["each"] | None) -> list[Row]:
    side = None if channel == "each" else channel
    if isinstance(result, AudioError):
        return [Row(name, None, str(result), side)]
    if channel == "each" and result.channels:
        return [Row(name, each, channel=number) for number, each in enumerate(result.channels)]
    return [Row(name, result, channel=side)]
