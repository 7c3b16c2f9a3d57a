"""Errors that a user can mend. Each carries one line that names the thing at fault and the way out."""

import difflib
import re
from collections.abc import Iterable


class AasistError(Exception):
    """Base of every error this package raises on purpose; the commands print it as one line."""


class ConfigError(AasistError):
    """A configuration file, or an override of one, does not say what is expected."""


class CheckpointError(AasistError):
    """A PyTorch checkpoint is damaged, hostile, or of a kind that is not read."""


class WeightsError(AasistError):
    """Weights and architecture do not fit, or a weights folder is incomplete."""


class DownloadError(AasistError):
    """A file cannot be downloaded, or is not the file that was promised."""


class UnreachableError(DownloadError):
    """The server cannot be reached or does not give the file: getting it by other means would help."""


class AudioError(AasistError):
    """Audio that cannot be decoded, or that breaks a limit."""


class DataError(AasistError):
    """A data set, a protocol or a manifest is not as its layout promises."""


class BadClipsError(DataError):
    """Clips of a data set are missing or damaged; the configuration can choose to leave them out."""


class TrainingError(AasistError):
    """A run cannot start, go on or be resumed."""


class ExportError(AasistError):
    """A model cannot be exported, or what was exported does not score as the model does."""


class ScoreFileError(AasistError):
    """A score file or a key file cannot be read, or the two do not belong together."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known name that was probably meant, or all of them.

    Upper and lower case are the same, and so are names that differ in nothing but separators.
    """
    by_lower_case = {each.lower(): each for each in known}
    same = [lower for lower in by_lower_case if _letters_alone(lower) == _letters_alone(name)]
    close = same or difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return f"did you mean {by_lower_case[close[0]]!r}?" if close else f"there are {', '.join(by_lower_case.values())}"


def _letters_alone(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()
