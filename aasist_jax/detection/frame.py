"""Results of many recordings as a pandas frame; needs the extra `pandas`."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

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
"""Columns of numbers, float64 with NaN where there is none; the others hold texts or None."""

_NONE = object()


def to_frame(recordings: Iterable[Any], results: Iterable[Score | AudioError]) -> "pandas.DataFrame":
    """The results of many recordings as a pandas frame, with the columns that `aasist-jax score` writes but `channel`.

        to_frame(paths, detector.score_many(paths, progress=True))

    Args:
        recordings: what was scored, for the column `file`: paths as they are, anything else as `recording 1` and so on,
            by its place.
        results: one for each, in the same order, such as those of `Detector.score_many`.

    Returns:
        One row for each recording. That of one which could not be scored has the status `error`, and says why in
        `error`.

    Raises:
        ConfigError: pandas is not installed.
        DataError: there are more of the one than of the other.
    """
    try:
        import pandas
    except ImportError:
        raise ConfigError("to_frame needs pandas: pip install 'aasist_jax[pandas]'") from None
    left, rows = iter(recordings), []
    for place, result in enumerate(results, start=1):
        if (recording := next(left, _NONE)) is _NONE:
            raise DataError(f"to_frame: {place} results or more for {place - 1} recordings; give each its recording")
        name = os.fspath(recording) if isinstance(recording, str | os.PathLike) else f"recording {place}"
        rows.append(Row(name, None, str(result)) if isinstance(result, AudioError) else Row(name, result))
    if next(left, _NONE) is not _NONE:
        raise DataError(f"to_frame: {len(rows)} results for more recordings; give each its result")
    columns = [name for name in COLUMNS if name != "channel"]
    frame = pandas.DataFrame([row.as_dict() for row in rows], columns=columns)
    return frame.astype(dict.fromkeys(NUMBERS, float))
