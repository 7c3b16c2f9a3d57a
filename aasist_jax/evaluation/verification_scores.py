"""Score files of speaker verification, in the layouts of the ASVspoof challenges.

ASVspoof 2019: `group key score`, one trial per line. ASVspoof 5 (track 2): a table of scores and a table of keys, each
with a header.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from aasist_jax.errors import ScoreFileError
from aasist_jax.evaluation.score_files import Scores, in_order
from aasist_jax.evaluation.text_table import check_unique, check_width, parse_scores, read_rows

VERIFICATION_KEYS = ("target", "nontarget", "spoof")
SASV_SCORE, SASV_KEY = "sasv-score", "asv-label"


@dataclass(frozen=True)
class VerificationScores:
    """Scores of a speaker verification system, spoofing-aware or not, by class of trial."""

    target: Float[np.ndarray, "target"]
    nontarget: Float[np.ndarray, "nontarget"]
    spoof: Float[np.ndarray, "asv_spoof"]

    @property
    def classes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The scores of target, non-target and spoof trials, in the order in which the metrics take them."""
        return self.target, self.nontarget, self.spoof


def read_asv_scores(path: Path) -> VerificationScores:
    """Read verification scores, one trial per line: `group key score`, with key target, nontarget or spoof.

    Raises:
        ScoreFileError: The file cannot be read, a line does not fit the layout, a score is not a finite number, or a
            class has no trial.
    """
    rows = list(read_rows(path))
    check_width(path, rows, 3)
    scores = parse_scores(path, [(line, row[2]) for line, row in rows])
    return _by_verification_key(path, [(line, row[1]) for line, row in rows], scores)


def read_sasv_scores(path: Path, keys: Path) -> VerificationScores:
    """Read scores and keys of spoofing-aware verification in the layouts of ASVspoof 5, track 2.

    Both are tables with a header: the scores with the columns `filename` and `sasv-score`, the keys with `filename` and
    `asv-label` (target, nontarget or spoof). They are joined by file name and, if both have a column `spk`, by claimed
    speaker. Scores without a key are left out.

    Raises:
        ScoreFileError: A file cannot be read, lacks these columns, or has duplicate trials; a trial has no score, or
            one that is not a finite number; or a class has no trial.
    """
    score_lines, scored = _verification_table(path, SASV_SCORE)
    key_lines, keyed = _verification_table(keys, SASV_KEY)
    naming = [name for name in ("spk", "filename") if name in scored and name in keyed]
    numbers = parse_scores(path, list(zip(score_lines, scored[SASV_SCORE], strict=True)))
    scores = Scores(str(path), _trial_names(path, scored, naming), numbers)
    joined = in_order(scores, _trial_names(keys, keyed, naming), str(keys))
    return _by_verification_key(keys, list(zip(key_lines, keyed[SASV_KEY], strict=True)), joined)


def _verification_table(path: Path, column: str) -> tuple[list[int], dict[str, list[str]]]:
    """Line numbers, and the columns by their names; `filename` and `column` must be among them."""
    rows = list(read_rows(path))
    header = [word.lower() for word in rows[0][1]] if rows else []
    if missing := [name for name in ("filename", column) if name not in header]:
        raise ScoreFileError(f"{path}: no column {' and no '.join(missing)} in its first line, which names the columns")
    del rows[0]
    check_width(path, rows, len(header))
    columns = {name: [row[header.index(name)] for _, row in rows] for name in header}
    return [line for line, _ in rows], columns


def _trial_names(path: Path, columns: dict[str, list[str]], naming: Sequence[str]) -> Shaped[np.ndarray, "trials"]:
    names = np.array([" ".join(words) for words in zip(*(columns[name] for name in naming), strict=True)], dtype=str)
    check_unique(path, names)
    return names


def _by_verification_key(
    path: Path, keys: Sequence[tuple[int, str]], scores: Float[np.ndarray, "trials"]
) -> VerificationScores:
    words = np.array([word for _, word in keys], dtype=str)
    unknown = np.flatnonzero(~np.isin(words, VERIFICATION_KEYS))
    if unknown.size:
        line, word = keys[unknown[0]]
        raise ScoreFileError(f"{path}:{line}: key {word!r} is none of {', '.join(VERIFICATION_KEYS)}")
    for key in VERIFICATION_KEYS:
        if not np.any(words == key):
            raise ScoreFileError(f"{path}: no {key} trial; all of {', '.join(VERIFICATION_KEYS)} are needed")
    return VerificationScores(*(scores[words == key] for key in VERIFICATION_KEYS))
